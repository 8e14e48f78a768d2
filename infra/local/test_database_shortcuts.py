"""The shorter ways of `database_shortcuts.py` answer as what they stand for."""

import copy
import datetime
import random
import tempfile
import unittest
import uuid

import bson
import secantus.sortkey
import secantus.storage
from bson.code import Code
from bson.regex import Regex
from secantus import query

import database_shortcuts as shortcuts
import packing

SEED = 178
TEXTS = ["", "a", "b", "lot-7", "Käse", "日本", "a\0b", "x" * 300]


class Shortcuts(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(SEED)

    def test_keys_are_packed_and_unpacked_alike(self):
        pack, unpack = packing.pack, packing.unpack
        numbers = [0, 1, -1, 63, 64, 8255, 8256, -64, -8257, 2**40, -(2**40), 2**63 - 1, -(2**63)]
        for form in ["S", "SS", "SSS", "SSu", "SSSu", "SSq", "q", "u", "Su", "SSSS", "Q", "SuS"]:
            for _ in range(200):
                values = [
                    self.random.choice(TEXTS) if kind == "S"
                    else self.random.randbytes(self.random.randrange(20)) if kind == "u"
                    else abs(self.random.choice(numbers)) if kind == "Q"
                    else self.random.choice(numbers)
                    for kind in form
                ]
                packed = pack(form, *values)
                self.assertEqual(shortcuts.pack(form, *values), packed, (form, values))
                self.assertEqual(shortcuts.unpack(form, packed), unpack(form, packed), (form, values))

    def test_a_value_of_another_kind_is_packed_alike(self):
        for form, values in [("Su", ("a", "b")), ("SSu", ("a", "b", "c")), ("u", ("Käse",))]:
            self.assertEqual(shortcuts.pack(form, *values), packing.pack(form, *values))
        with self.assertRaises(TypeError):
            shortcuts.pack("SS", b"a", "b")

    def test_a_value_is_found_in_a_list_alike(self):
        values = [*TEXTS, None, 1, 1.0, True, {"a": "b"}, ["a", 1], ["x", ["b"]], [], query.MISSING, Code("a")]
        lists = [["a"], ["a", "b"], [], ["Käse", "lot-7", ""], ["a", None], [1, "b"], [Regex("^l")], [["a", 1]]]
        outcomes = set()
        for given in lists:
            for _ in range(300):
                candidates = self.random.choices(values, k=self.random.randrange(1, 4))
                for descend in (True, False):
                    expected = query._op_matches(candidates, "$in", given, descend=descend)
                    found = shortcuts.matches(candidates, "$in", given, descend=descend)
                    self.assertEqual(found, expected, (candidates, given, descend))
                    outcomes.add(expected)
        self.assertEqual(outcomes, {True, False})

    def test_what_is_no_list_is_refused_alike(self):
        for given in ["a", {"a": 1}, None, [{"$gt": ""}]]:
            with self.assertRaises(query.QueryError):
                shortcuts.matches(["a"], "$in", given)

    def test_indexes_are_listed_alike(self):
        with tempfile.TemporaryDirectory() as folder:
            storage = secantus.storage.Storage(folder)
            try:
                for database, collection in [("t_one", "lots"), ("t_one", "lots2"), ("t_two", "lots")]:
                    storage.create_collection(database, collection)
                    storage.create_index(database, collection, f"of_{collection}", {"tenant_id": 1, "at": -1})
                    storage.create_index(database, collection, "unique", {"lot": 1}, {"unique": True})
                self.compare(storage)
                for name, _, options in shortcuts.indexes(storage, "t_one", "lots"):
                    options["changed"] = name
                self.compare(storage)
                storage.drop_index("t_one", "lots", "unique")
                self.compare(storage)
            finally:
                storage.close()

    def test_what_is_inserted_is_indexed_alike(self):
        """Twice the same documents, of which one in each command is there already."""
        documents = [
            {"_id": number, "lot": self.random.choice(TEXTS), "keys": self.random.choices(TEXTS, k=3)}
            for number in range(40)
        ]
        kept = []
        ways = [secantus.storage.Storage._insert_chunk, shortcuts.insert_chunk]
        for way in ways:
            with tempfile.TemporaryDirectory() as folder:
                storage = secantus.storage.Storage(folder)
                storage._index_options_map = shortcuts.options_map.__get__(storage)
                storage._insert_chunk = way.__get__(storage)
                try:
                    said = []
                    for round in range(2):
                        if round:
                            storage.create_index("t", "lots", "unique", {"number": 1}, {"unique": True, "sparse": True})
                        some = [{**one, "_id": one["_id"] + 100 * round} for one in documents]
                        some.insert(5, dict(some[0]))
                        said.append(storage.insert("t", "lots", some, ordered=False))
                        if not round:
                            storage.create_index("t", "lots", "of_keys", {"keys": 1, "lot": -1})
                    for field in ("keys", "lot"):
                        for text in TEXTS:
                            said.append(sorted(one["_id"] for one in storage.find_matching("t", "lots", {field: text})))
                    said.append(storage.insert("t", "lots", [{"_id": 900, "number": 1}, {"_id": 901, "number": 1}]))
                    kept.append(said)
                finally:
                    storage.close()
        self.assertEqual(kept[0], kept[1])
        self.assertEqual(kept[0][0][0], 40)
        self.assertEqual(len(kept[0][-1][1]), 1)

    def document(self):
        """A document with some of what its fields may hold."""
        values = [
            *TEXTS, None, 1, 1.0, True, -7, bson.Decimal128("0.10"), datetime.datetime(2026, 2, 28, 1, 2, 3, 4000),
            b"a\0", bson.ObjectId(b"0123456789ab"), Code("a"), Regex("^l"), {"c": ["a", 1]}, {"c": "a\0"}, [],
            ["a"], ["a\0b", "a", "a", "Käse"], ["a", 1, 1.0, None], [["a"], "a"], [{"c": 1}, {"c": ["b"]}],
        ]
        fields = [field for field in ("a", "b", "d") if self.random.random() < 0.9]
        return {field: self.random.choice(values) for field in fields}

    def test_a_document_has_the_same_keys(self):
        indexes = [
            {"a": 1}, {"a": -1}, {"a": 1, "b": 1}, {"a": 1, "b": -1, "d": 1}, {"a": 1.0, "d": 1}, {"a.c": 1, "b": 1},
            {"b": 1, "a.0": 1},
        ]
        multikey = set()
        for _ in range(2000):
            document = self.document()
            for fields in indexes:
                for sparse in (False, True):
                    expected = secantus.storage._index_key_variants(document, fields, sparse=sparse)
                    found = shortcuts.variants(document, fields, sparse=sparse)
                    self.assertEqual(found, expected, (document, fields, sparse))
                expected = secantus.storage._doc_makes_multikey(document, fields)
                self.assertEqual(shortcuts.makes_multikey(document, fields), expected, (document, fields))
                multikey.add(expected)
        self.assertEqual(multikey, {True, False})
        for fields in ({"a": "text"}, {"a": "hashed"}):
            for way in (secantus.storage._index_key_variants, shortcuts.variants):
                with self.assertRaises(ValueError):
                    way({"a": "b"}, fields, sparse=False)

    def test_the_same_entries_are_written(self):
        documents = [{"_id": number, **self.document()} for number in range(300)]
        entries = []
        for way in (secantus.storage.Storage._write_index_entries, shortcuts.write_entries):
            with tempfile.TemporaryDirectory() as folder:
                storage = secantus.storage.Storage(folder)
                storage._write_index_entries = way.__get__(storage)
                try:
                    for collection, indexes in {
                        "plain": [("ab", {"a": 1, "b": -1}, {}), ("dot", {"a.c": 1}, {}), ("some", {"d": 1}, {"sparse": True})],
                        "unique": [("_a", {"a": 1}, {}), ("b", {"b": 1}, {"unique": True})],
                        "partial": [("d", {"d": 1}, {"partialFilterExpression": {"a": {"$exists": True}}})],
                        "strength": [("a", {"a": 1}, {"collation": {"locale": "en", "strength": 2}})],
                    }.items():
                        storage.create_collection("t", collection)
                        for name, fields, options in indexes:
                            storage.create_index("t", collection, name, fields, options)
                        _, errors = storage.insert("t", collection, documents, ordered=False)
                        self.assertEqual(bool(errors), collection == "unique")
                    entries.append(self.everything(storage, secantus.storage._IDX_ENTRIES_TABLE))
                    entries.append(self.everything(storage, secantus.storage._UNIQ_TABLE))
                finally:
                    storage.close()
        self.assertEqual(entries[:2], entries[2:])
        self.assertGreater(len(entries[0]), 2000)
        self.assertGreater(len(entries[1]), 10)

    def test_entries_are_found_alike(self):
        with tempfile.TemporaryDirectory() as folder:
            storage = secantus.storage.Storage(folder)
            try:
                for collection in ("lots", "lots2"):
                    storage.create_collection("t", collection)
                    storage.create_index("t", collection, "a", {"a": 1})
                    storage.create_index("t", collection, "ab", {"a": 1, "b": 1})
                    documents = [{"_id": number, **self.document()} for number in range(300)]
                    storage.insert("t", collection, documents)
                found = 0
                for value in [*TEXTS, None, 1, ["a"], {"c": "a\0"}, "none"]:
                    key = secantus.sortkey.encode_value(value)
                    for collection in ("lots", "lots2", "lot"):
                        for name in ("a", "ab", "b"):
                            for prefix in (False, True):
                                asked = ("t", collection, name, key)
                                expected = storage._scan_index_for_id_keys(*asked, prefix=prefix)
                                answer = shortcuts.scan_index(storage, *asked, prefix=prefix)
                                self.assertEqual(answer, expected, (asked, prefix))
                                found += len(answer)
                self.assertGreater(found, 500)
            finally:
                storage.close()

    def test_the_same_is_logged(self):
        documents = [{"_id": number, **self.document()} for number in range(50)]
        logs = []
        for way in (secantus.storage.Storage._emit_oplog, shortcuts.emit_log):
            with tempfile.TemporaryDirectory() as folder:
                storage = secantus.storage.Storage(folder)
                storage._emit_oplog = way.__get__(storage)
                try:
                    storage.insert("t", "lots", documents)
                    storage.update_matching("t", "lots", {"_id": {"$lt": 5}}, {"$set": {"a": ["b", 1]}}, multi=True)
                    storage.delete_matching("t", "lots", {"_id": 7}, limit=1)
                    entries = storage.find_matching("local", "oplog.rs", {"ns": "t.lots"})
                    of_chance = ("ts", "wall", "ui")
                    logs.append([{k: v for k, v in one.items() if k not in of_chance} for one in entries])
                finally:
                    storage.close()
        self.assertEqual(logs[0], logs[1])
        self.assertEqual([one["op"] for one in logs[1]], ["i"] * 50 + ["u"] * 5 + ["d"])

    def test_all_together_leave_the_same(self):
        """One command with all shorter ways, in a transaction and without one."""
        documents = [{"_id": number, **self.document()} for number in range(200)]
        left = []
        for ways in ({}, shortcuts.OF_STORAGE):
            with tempfile.TemporaryDirectory() as folder:
                storage = secantus.storage.Storage(folder)
                for name, way in ways.items():
                    setattr(storage, name, way.__get__(storage))
                try:
                    for collection in ("lots", "others"):
                        storage.create_collection("t", collection)
                        storage.create_index("t", collection, "ab", {"a": 1, "b": -1})
                        storage.create_index("t", collection, "d", {"d": 1}, {"sparse": True})
                    storage.create_index("t", "lots", "b", {"b": 1}, {"unique": True})
                    storage.set_index_options("t", "others", "d", prepareUnique=True)
                    said = [storage.insert("t", name, documents, ordered=False) for name in ("lots", "others", "lots")]
                    handle = storage.begin_user_transaction()
                    with storage.use_user_transaction(handle):
                        some = [{"_id": number, "a": ["x", number]} for number in range(300, 320)]
                        said.append(storage.insert("t", "lots", [*some, some[0]], ordered=False))
                    storage.commit_user_transaction(handle)
                    said += [self.everything(storage, table) for table in (
                        secantus.storage._IDX_ENTRIES_TABLE, secantus.storage._UNIQ_TABLE,
                    )]
                    log = storage.find_matching("local", "oplog.rs", {"op": "i"})
                    left.append((said, [(one["ns"], list(one["o"].items())) for one in log]))
                finally:
                    storage.close()
        self.assertEqual(left[0], left[1])
        self.assertTrue(all(errors for _, errors in left[0][0][:4]))

    @staticmethod
    def everything(storage, table):
        cursor = storage._cursor(table)
        rows = []
        while cursor.next() == 0:
            rows.append((list(cursor.get_keys()), list(cursor.get_values())))
        return rows

    def test_values_are_copied_alike(self):
        values = [
            *TEXTS, b"a", 7, 7.5, True, None, datetime.datetime(2026, 2, 28), bson.Int64(7), bson.ObjectId(),
            bson.Timestamp(1, 2), bson.Decimal128("0.10"), bson.Binary(b"a", 5), Regex("^l"), Code("a", {"b": [1]}),
            uuid.uuid4(), bson.SON([("b", 1), ("a", [2])]), {"a": [{"b": ["c", 1]}]}, [], {},
        ]
        for value in values:
            found = shortcuts.copied(value)
            self.assertEqual((found, type(found)), (copy.deepcopy(value), type(value)))
        nested = {"a": [{"b": ["c"]}], "d": bson.SON([("e", [1])])}
        found = shortcuts.copied(nested)
        found["a"][0]["b"].append("x")
        found["d"]["e"].append(2)
        self.assertEqual(nested, {"a": [{"b": ["c"]}], "d": bson.SON([("e", [1])])})

    def compare(self, storage):
        listed = []
        for database, collection in [("t_one", "lots"), ("t_one", "lots2"), ("t_one", "lot"), ("t_two", "lots"), ("z", "z")]:
            expected = list(storage._iter_indexes(database, collection))
            self.assertEqual(list(shortcuts.indexes(storage, database, collection)), expected)
            listed += expected
        self.assertTrue(listed)


if __name__ == "__main__":
    unittest.main()
