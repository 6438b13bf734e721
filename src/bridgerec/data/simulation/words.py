"""Themes that books, films and kitchenware share, in English and Chinese."""

from typing import Final, NamedTuple


class Theme(NamedTuple):
    """Words of one interest: names, adjectives of taste, and things per domain."""

    name: str
    chinese: str
    subjects: tuple[str, ...]
    chinese_subjects: tuple[str, ...]
    tools: tuple[str, ...]
    chinese_tools: tuple[str, ...]


# fmt: off
THEMES: Final = (
    Theme("Italian Cooking", "意大利料理", ("pasta", "risotto", "Tuscan kitchens", "Neapolitan pizza", "olive groves"), ("意大利面", "披萨", "橄榄园"), ("pasta maker", "pizza stone", "risotto pan", "parmesan grater"), ("压面机", "披萨石板")),
    Theme("Tea Culture", "茶文化", ("green tea", "oolong gardens", "the tea road", "matcha ceremony", "quiet tea houses"), ("绿茶", "乌龙茶园", "茶马古道"), ("cast iron teapot", "matcha whisk", "gaiwan set", "tea infuser"), ("铸铁茶壶", "盖碗")),
    Theme("Coffee", "咖啡", ("espresso bars", "single origin coffee", "roasting", "baristas", "the coffee trade"), ("意式浓缩", "单品咖啡", "烘焙师"), ("burr grinder", "pour-over kettle", "espresso machine", "moka pot"), ("磨豆机", "摩卡壶")),
    Theme("Baking", "烘焙", ("sourdough", "village bakeries", "French pastry", "rye bread", "wedding cakes"), ("酸面包", "法式糕点", "乡村面包房"), ("proofing basket", "stand mixer", "springform tin", "dough scraper"), ("发酵篮", "打蛋器")),
    Theme("Japanese Living", "日式生活", ("ramen counters", "Kyoto gardens", "sushi masters", "bento mornings", "wabi-sabi"), ("拉面馆", "京都庭院", "寿司之神"), ("santoku knife", "rice cooker", "bento box", "donabe pot"), ("三德刀", "便当盒")),
    Theme("Spice Routes", "香料之路", ("saffron", "the spice trade", "curry houses", "Bombay kitchens", "pepper coasts"), ("藏红花", "香料贸易", "咖喱屋"), ("spice grinder", "mortar and pestle", "masala tin", "karahi pan"), ("香料研磨器", "研钵")),
    Theme("Barbecue", "烧烤", ("smokehouses", "open fires", "pitmasters", "Texas brisket", "charcoal nights"), ("炭火", "烟熏屋", "篝火之夜"), ("grill tongs", "meat thermometer", "smoker box", "cast iron grill"), ("烤肉夹", "铸铁烤盘")),
    Theme("Vegan Kitchen", "素食厨房", ("plant-based days", "lentils", "farm vegetables", "raw food", "tofu workshops"), ("植物饮食", "豆腐工坊", "有机蔬菜"), ("high-speed blender", "tofu press", "spiralizer", "salad spinner"), ("豆腐压榨器", "料理机")),
    Theme("Gardening", "园艺", ("herb gardens", "heirloom tomatoes", "greenhouses", "roses", "balcony gardens"), ("香草花园", "温室", "阳台种植"), ("herb scissors", "windowsill planter", "harvest basket", "herb keeper"), ("香草剪", "窗台花盆")),
    Theme("Detective Mysteries", "侦探推理", ("a locked room", "the inspector", "poisoned wine", "a vanished heiress", "midnight trains"), ("密室", "消失的继承人", "午夜列车"), ("poison-bottle decanter", "magnifier cheese knife", "mystery dinner set", "crime scene cookie cutters"), ("推理主题餐具", "神探马克杯")),
    Theme("Space Exploration", "太空探索", ("the moon landing", "Mars colonies", "lost probes", "orbit", "distant galaxies"), ("登月", "火星殖民地", "遥远星系"), ("rocket salt shaker", "galaxy mug", "astronaut tumbler", "planet ice moulds"), ("星空马克杯", "宇航员水杯")),
    Theme("Medieval Fantasy", "中世纪奇幻", ("dragons", "the last kingdom", "runes", "a forgotten throne", "elven forests"), ("巨龙", "失落的王座", "精灵森林"), ("drinking horn", "dragon goblet", "tavern tankard", "rune cutting board"), ("龙纹酒杯", "酒馆木杯")),
    Theme("Cycling", "骑行", ("mountain passes", "the grand tour", "gravel roads", "night rides", "velodromes"), ("环法", "山口", "砂石路"), ("insulated bike bottle", "energy bar mould", "cycling lunch tin", "chain-pattern apron"), ("保温骑行水壶", "能量棒模具")),
    Theme("Running", "跑步", ("marathons", "desert ultras", "barefoot trails", "dawn runs", "the track"), ("马拉松", "沙漠超跑", "晨跑"), ("protein shaker", "smoothie cup", "hydration flask", "overnight oats jar"), ("蛋白摇杯", "燕麦罐")),
    Theme("Sailing", "航海", ("the southern ocean", "lighthouses", "island harbours", "storms at sea", "old charts"), ("南大洋", "灯塔", "海岛港口"), ("galley kettle", "anchor bottle opener", "oyster knife", "seafood steamer"), ("船用水壶", "海鲜蒸锅")),
    Theme("Mountaineering", "登山", ("the north face", "Himalayan camps", "winter ascents", "rope teams", "glaciers"), ("北壁", "喜马拉雅营地", "冰川"), ("camping stove", "titanium mug", "enamel camp plate", "folding spork"), ("露营炉", "钛杯")),
    Theme("Jazz", "爵士乐", ("Harlem nights", "the trumpet", "bebop", "a blue piano", "smoky clubs"), ("小号", "蓝色钢琴", "爵士俱乐部"), ("cocktail shaker", "whisky tumbler", "jazz club coasters", "bar spoon"), ("调酒器", "威士忌杯")),
    Theme("Classical Music", "古典音乐", ("a lost sonata", "the conductor", "Vienna", "string quartets", "opera houses"), ("失落的奏鸣曲", "维也纳", "歌剧院"), ("porcelain cup set", "violin cheese board", "crystal flute", "opera cake tin"), ("骨瓷杯组", "水晶香槟杯")),
    Theme("Vintage Design", "复古设计", ("mid-century houses", "Bauhaus", "chrome diners", "enamel signs", "typewriters"), ("包豪斯", "复古餐厅", "打字机"), ("retro toaster", "enamel breadbox", "diner milkshake glass", "chrome kettle"), ("复古烤面包机", "珐琅罐")),
    Theme("Mindful Living", "正念生活", ("slow mornings", "silence", "breathing", "less is more", "monastery days"), ("慢生活", "呼吸", "断舍离"), ("meditation tea cup", "bamboo bowl", "linen tea towel", "wooden breakfast tray"), ("竹碗", "亚麻茶巾")),
    Theme("Family Life", "家庭生活", ("first steps", "school mornings", "grandmother's house", "Sunday dinners", "siblings"), ("外婆家", "周日晚餐", "兄弟姐妹"), ("children's plate set", "lunch box", "cookie cutters", "toddler apron"), ("儿童餐盘", "饼干模具")),
    Theme("Ancient History", "古代历史", ("Rome", "the silk road", "pharaohs", "bronze age cities", "lost libraries"), ("丝绸之路", "青铜时代", "法老"), ("terracotta pot", "amphora oil bottle", "bronze bowl", "mosaic trivet"), ("陶锅", "青铜碗")),
    Theme("Ocean Life", "海洋生物", ("coral reefs", "whales", "the deep sea", "tide pools", "octopus minds"), ("珊瑚礁", "鲸鱼", "深海"), ("fish kettle", "scallop dish", "sea-salt cellar", "wave serving platter"), ("鱼形蒸锅", "海盐罐")),
    Theme("Wine", "葡萄酒", ("Burgundy", "a harvest year", "old cellars", "sommeliers", "vineyards"), ("勃艮第", "老酒窖", "葡萄园"), ("decanter", "corkscrew", "wine cooler sleeve", "crystal wine glass"), ("醒酒器", "开瓶器")),
)
KINDS: Final = {
    "books": (("Handbook", "指南"), ("Novel", "小说"), ("Essays", "随笔"), ("Memoir", "回忆录"), ("Illustrated Guide", "图鉴")),
    "films": (("Documentary", "纪录片"), ("Drama", "剧情片"), ("Short Film", "短片"), ("Series", "剧集"), ("Comedy", "喜剧")),
    "kitchenware": (("Classic", "经典"), ("Professional", "专业"), ("Compact", "迷你"), ("Handmade", "手工"), ("Deluxe", "豪华")),
}
PRICES: Final = {
    "books": dict(zip(KINDS["books"], (18.0, 12.0, 14.0, 16.0, 29.0), strict=True)),
    "films": dict(zip(KINDS["films"], (4.0, 4.5, 1.5, 9.0, 4.5), strict=True)),
    "kitchenware": dict(zip(KINDS["kitchenware"], (22.0, 60.0, 15.0, 48.0, 75.0), strict=True)),
}
PATTERNS: Final = {
    "books": ("The Secret of {s}", "A Year with {s}", "Letters on {s}", "{s}: A {k}", "Beyond {s}", "The Little Book of {s}", "Learning to Love {s}", "Songs of {s}"),
    "films": ("{s}", "Chasing {s}", "The World of {s}", "Last Days of {s}", "{s} at Dawn", "Inside {s}", "Waiting for {s}", "{s} Forever"),
    "kitchenware": ("{b} {k} {s}", "{k} {s} by {b}", "{b} {s}, {k}", "{s} {k} Edition, {b}"),
}
CHINESE_PATTERNS: Final = {
    "books": ("{s}的秘密", "与{s}同行的一年", "{s}{k}", "走近{s}"),
    "films": ("{s}", "追寻{s}", "{s}的世界", "黎明时的{s}"),
    "kitchenware": ("{b}{k}{s}", "{s}（{k}款）{b}"),
}
BRANDS: Final = {
    "books": ("Harbour Press", "Lantern Books", "Northlight", "Foxglove House", "Meridian", "Paper Kite"),
    "films": ("Maya Lindqvist", "Tomas Okafor", "Lin Qiao", "Elena Rossi", "Daniel Haas", "Aiko Mori"),
    "kitchenware": ("Castello", "Nordhem", "Brookfield", "Sanyuan", "Alder & Pine", "Volcano"),
}
MOODS: Final = ("quiet", "bold", "warm", "curious", "playful", "graceful", "rough", "bright", "patient", "surprising")
CHINESE_MOODS: Final = ("安静", "大胆", "温暖", "好奇", "有趣", "优雅", "明亮", "细腻")
# fmt: on
EVENTS: Final = {
    "books": (("view", 0.55), ("purchase", 0.25), ("rating", 0.20)),
    "films": (("view", 0.5), ("like", 0.2), ("comment", 0.1), ("share", 0.08), ("rating", 0.12)),
    "kitchenware": (("view", 0.55), ("purchase", 0.3), ("rating", 0.15)),
}
CATALOGUE_NAMES: Final = {
    "books": ("Books", "图书"),
    "films": ("Films", "影视"),
    "kitchenware": ("Kitchen", "厨房"),
}
