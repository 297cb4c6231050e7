"""PyPI openfeature-provider-ofrep, unmodified, against URL CLIENT_KEY SERVER_KEY.

What the flags are is in publication.json.
"""

import sys
import time
import traceback

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

url, client_key, server_key = sys.argv[1:]
run = format(time.time_ns(), "x")
passed, failed = 0, 0


def client(**headers):
    domain = repr(headers)
    api.set_provider(OFREPProvider(url, headers_factory=lambda: headers), domain)
    return api.get_client(domain)


def person(name, **attributes):
    return EvaluationContext(f"{name}-{run}", attributes)


near = client(**{"X-API-Key": client_key})


def values():
    ann = person("py-ofrep-ann")
    assert near.get_string_value("banner", "x", ann) == "welcome"
    assert near.get_string_value("greeting", "x", ann) == "gr\u00fc\u00dfe \u2615"
    assert near.get_integer_value("max_items", 1, ann) == 42
    assert near.get_boolean_value("beta_program", False, ann) is True
    assert near.get_boolean_value("dark_mode", True, ann) is False
    assert near.get_object_value("layout", {}, ann) == {"columns": 3, "sidebar": True}


def off():
    details = near.get_string_details("retired", "my own", person("py-ofrep-ann"))
    assert (details.value, details.reason, details.error_code) == ("my own", "DISABLED", None), details


def reasons():
    staff = near.get_string_details("banner", "x", person("py-ofrep-eva", plan="enterprise"))
    assert (staff.value, staff.reason) == ("welcome, enterprise", "TARGETING_MATCH")
    assert staff.flag_metadata == {"enabled": True, "featureId": 1}
    vip = near.get_string_details("banner", "x", EvaluationContext("vip"))
    assert (vip.value, vip.reason) == ("welcome, vip", "TARGETING_MATCH")
    split = near.get_string_details("button_colour", "x", person("py-ofrep-ann"))
    colours = {"control": "grey", "green": "#00ff00", "blue": "#0000ff"}
    assert (split.reason, split.value) == ("SPLIT", colours[split.variant])
    plain = near.get_integer_details("max_items", 1, person("py-ofrep-ann"))
    assert (plain.reason, plain.variant) == ("STATIC", "enabled")


def without_a_context():
    assert near.get_string_value("button_colour", "x") == "grey"


def errors():
    def code(of, flag, context=None):
        details = of.get_string_details(flag, "x", context or person("py-ofrep-ann"))
        return details.error_code and details.error_code.value

    assert code(near, "no_such_flag") == "FLAG_NOT_FOUND"
    assert code(near, "server_secret") == "FLAG_NOT_FOUND"
    assert code(near, "max_items") == "TYPE_MISMATCH"
    assert code(near, "banner", EvaluationContext("x", {"bio": "x" * 2001})) == "INVALID_CONTEXT"
    assert code(client(**{"X-API-Key": f"nobody-{run}"}), "banner") == "GENERAL"


def bearer():
    server = client(Authorization=f"Bearer {server_key}")
    assert server.get_string_value("server_secret", "x", person("py-ofrep-ann")) == "for servers only"


for check in (values, off, reasons, without_a_context, errors, bearer):
    try:
        check()
        passed += 1
    except Exception:
        failed += 1
        print(f"FAILED {check.__name__}: {traceback.format_exc()}")
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
