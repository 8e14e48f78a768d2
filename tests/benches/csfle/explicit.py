"""MongoDB's explicit client-side field-level encryption, timed.

Local key provider, AEAD_AES_256_CBC_HMAC_SHA_512-Random (what CSFLE offers for
values that are not queried). Reads {"uri", "database", "values", "rounds"} as
JSON from standard input; writes, for each value, nanoseconds of each
encryption and decryption, medians, as JSON.
"""

import json
import os
import statistics
import sys
import time

from bson.binary import STANDARD
from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.encryption import Algorithm, ClientEncryption


def main() -> None:
    task = json.load(sys.stdin)
    with MongoClient(task["uri"]) as client:
        vault = f"{task['database']}.csfle_keys"
        providers = {"local": {"key": os.urandom(96)}}
        with ClientEncryption(providers, vault, client, CodecOptions(uuid_representation=STANDARD)) as csfle:
            key = csfle.create_data_key("local")
            json.dump([timed(csfle, key, value, task["rounds"]) for value in task["values"]], sys.stdout)
        client.drop_database(task["database"])


def timed(csfle: ClientEncryption, key, value: str, rounds: int) -> dict[str, float]:
    seals, opens = [], []
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        sealed = csfle.encrypt(value, Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Random, key_id=key)
        sealed_at = time.perf_counter_ns()
        opened = csfle.decrypt(sealed)
        opens.append(time.perf_counter_ns() - sealed_at)
        seals.append(sealed_at - begun)
        assert opened == value
    return {"seal": statistics.median(seals), "open": statistics.median(opens)}


if __name__ == "__main__":
    main()
