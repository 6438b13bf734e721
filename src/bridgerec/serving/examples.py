"""An example of every answer, and of every parameter in a path or query, for /openapi.json.

`tests/serving/test_guarded_service.py` compares their fields with those of real answers.
"""

from typing import Any

REQUEST = "05b4fa5bfb5ebd0b"
FILM = {
    "domain": "films",
    "item_id": "F01216",
    "title": "The grand tour Forever, No. 3",
    "category": "Films > Cycling > Series",
    "brand": "Elena Rossi",
    "price": 7.54,
    "image": "/pictures/3216.png?release=6005abd7a187",
}
WHY = {
    "because": [
        {
            "domain": "kitchenware",
            "item_id": "K01007",
            "title": "Volcano Handmade insulated bike bottle",
            "contribution": 0.9883,
        }
    ],
    "shared": ["Cycling"],
    "moved": [{"rule": "MMR", "from": 3, "to": 1}],
    "wish": None,
}
RECOMMENDED = {
    "release": "6005abd7a187",
    "request_id": REQUEST,
    "target": ["films"],
    "route": "cold_start",
    "routes": {"films": "cold_start"},
    "candidate": "blend",
    "items": [{"rank": 1, **FILM, "score": 8.176, "explanation": WHY}],
    "notes": [],
}
UNKNOWN = {
    "error": "refused",
    "message": "unknown target 'nowhere'; the domains are ['books', 'films', 'kitchenware']",
    "remedy": "Correct the request; see /openapi.json.",
    "request_id": f"{REQUEST}-2",
}
EVENT = {
    "domain": "films",
    "item_id": "F00007",
    "title": "The last harbour",
    "timestamp": 1_720_000_000,
    "kind": "like",
    "source": "live",
}
CANARY = {
    "state": "on",
    "reason": None,
    "plan": {"bento": "/srv/releases/b/bento", "weight": 0.05, "mode": "canary", "salt": "9f2c"},
    "main": "6005abd7a187",
    "move": "none",
    "move_reason": None,
    "second": "8071f917bb41",
    "loaded": ["6005abd7a187", "8071f917bb41"],
    "answered": 412,
    "errors": 0,
    "shadow_answers": 0,
    "shadow_errors": 0,
    "shadow_dropped": 0,
    "request_id": REQUEST,
}
HEALTH = {"status": "ready", "release": "6005abd7a187", "request_id": REQUEST}
# parts alone: the whole dossier and the whole evaluation are long
DOSSIER = {
    "release": "6005abd7a187",
    "data_hash": "3f0c5b",
    "champion": {"candidate": "blend"},
    "bundle_sha256": {"models": "77b2e1", "catalogue.parquet": "0c91aa"},
    "bento_sha256": "e5d210",
    "request_id": REQUEST,
}
VALUE = {"value": 0.2312, "low": 0.2251, "high": 0.2375}
EVALUATION = {
    "test": {"temporal": {"films": {"blend": {"all": {"ndcg@10": VALUE}}}}},
    "request_id": REQUEST,
}

ANSWERS: dict[tuple[str, str], Any] = {
    ("post", "/recommend"): RECOMMENDED,
    ("post", "/recommend_batch"): {"answers": [RECOMMENDED, UNKNOWN], "request_id": REQUEST},
    ("post", "/similar"): {
        "release": "6005abd7a187",
        "request_id": REQUEST,
        "items": [{"rank": 1, **FILM, "score": 0.8123, "explanation": None}],
    },
    ("post", "/search"): {
        **RECOMMENDED,
        "understood": "“a quiet story about the sea” in films; 30% by taste",
    },
    ("post", "/events"): {
        "accepted": 1,
        "duplicates": 0,
        "unknown_items": 0,
        "request_id": REQUEST,
    },
    ("post", "/feedback"): {"accepted": 2, "request_id": REQUEST},
    ("get", "/users"): {"users": ["u00042", "u00420"], "request_id": REQUEST},
    ("get", "/users/{user_id}"): {
        "user_id": "u00042",
        "known": True,
        "events": [EVENT],
        "stored": 1,
        "request_id": REQUEST,
    },
    ("delete", "/users/{user_id}"): {"user_id": "u00042", "forgotten": True, "request_id": REQUEST},
    ("get", "/items"): {"items": [FILM], "request_id": REQUEST},
    ("post", "/items"): {"domain": "films", "item_id": "F90001", "request_id": REQUEST},
    ("get", "/items/{item_id}"): {**FILM, "request_id": REQUEST},
    ("get", "/release"): DOSSIER,
    ("get", "/evaluation"): EVALUATION,
    ("get", "/health"): HEALTH,
    ("get", "/admin/canary"): CANARY,
    ("post", "/admin/canary"): CANARY,
    ("delete", "/admin/canary"): {
        **CANARY,
        "state": "none",
        "plan": None,
        "second": None,
        "loaded": ["6005abd7a187"],
    },
}
PARAMETERS: dict[str, Any] = {  # by name, or by path and name
    "user_id": "u00042",
    "user_domain": "films",
    "item_id": "F00007",
    "domain": "films",
    "/users query": "u0",
    "/items query": "the",
    "limit": 20,
}
PROBLEM = {
    "error": "invalid",
    "message": "k: Input should be greater than or equal to 1",
    "remedy": "See /openapi.json for the fields.",
    "request_id": REQUEST,
}
