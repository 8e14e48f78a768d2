"""Shorter ways for what the database server does most often.

Each answers as what it stands for does, which `test_database_shortcuts.py` holds
it against; what it does not know it leaves to that.

- `$in` compares each document with each value of the list, so a query for 250 lots
  took more than a hundred times as long as one for eight. MongoDB looks a value up.
- Keys of the storage engine are packed and unpacked by a description that is read
  letter by letter each time. Nearly all are texts that end with a null byte.
- Which indexes a collection has is unpacked and decoded three or four times for
  each command. They are still read each time, but decoded once.
- For each document that is inserted, their options are read twice more. While
  documents of one command are, nobody else changes the collection.
- Of each document that is inserted, every field of an index is made a key anew for
  each combination with an element of an array, and once more to see whether there is
  an array. Here each is made once, but for those of unique indexes, and that of a text without asking what else it may
  be. How the entries of a collection are written is found out once for each command.
- Entries of an index that are looked up are compared as they are packed.
- Within a transaction each document is encoded twice more for the log of operations.
- What a query shows of a document is copied value by value in the way that any
  object of Python can be. Most are texts and numbers, which nothing changes.
"""

import copy
import datetime
import functools
import threading

import bson
import secantus.storage
import swig_wiredtiger
from bson.raw_bson import RawBSONDocument
from secantus import projection, query, sortkey

# The module by the name under which the storage engine's binding imports it.
import packing

# Index definitions that are kept decoded.
MOST_REMEMBERED = 100_000

_packed = packing.pack
_unpacked = packing.unpack
_matched = query._op_matches

# How many texts a key begins with, and what it ends with: nothing, bytes (u), or a
# number (q).
_KEYS = {"S" * texts + end: (texts, end) for texts in range(4) for end in ("", "u", "q") if texts or end}


def pack(form, *values):
    """`packing.pack`."""
    texts, end = _KEYS.get(form, (None, None))
    if texts is None or len(values) != texts + len(end):
        return _packed(form, *values)
    parts = []
    for value in values[:texts]:
        if type(value) is not str:
            return _packed(form, *values)
        parts += (value.partition("\0")[0].encode(), b"\0")
    if end == "u":
        if type(values[texts]) is not bytes:
            return _packed(form, *values)
        parts.append(values[texts])
    elif end == "q":
        parts.append(packing.pack_int(values[texts]))
    return b"".join(parts)


def unpack(form, packed):
    """`packing.unpack`."""
    texts, end = _KEYS.get(form, (None, None))
    if texts is None or type(packed) is not bytes:
        return _unpacked(form, packed)
    values = []
    begin = 0
    for _ in range(texts):
        stop = packed.find(b"\0", begin)
        if stop < 0:
            return _unpacked(form, packed)
        values.append(packed[begin:stop].decode())
        begin = stop + 1
    if end == "u":
        values.append(packed[begin:])
    elif end == "q":
        values.append(packing.unpack_int(packed[begin:])[0])
    return values


class _Sought(threading.local):
    """The list of the last `$in` that this thread compared with."""

    values = None
    texts = None

    def among(self, values):
        """The values as a set, if all of them are texts."""
        if values is not self.values:
            plain = isinstance(values, list) and all(type(value) is str for value in values)
            self.texts = frozenset(values) if plain else None
            self.values = values
        return self.texts


_sought = _Sought()


def matches(values, operator, argument, collation=None, *, field="", descend=True):
    """`query._op_matches`."""
    texts = _sought.among(argument) if operator == "$in" and collation is None else None
    if texts is None:
        return _matched(values, operator, argument, collation, field=field, descend=descend)
    for value in values:
        if type(value) is str:
            if value in texts:
                return True
        elif type(value) is list:
            if descend and any(type(item) is str and item in texts for item in value):
                return True
        elif isinstance(value, str):
            return _matched(values, operator, argument, collation, field=field, descend=descend)
    return False


@functools.lru_cache(maxsize=MOST_REMEMBERED)
def _definition(key, value):
    definition = bson.decode(value)
    return unpack("SSS", key)[2], definition.get("key", {}), definition.get("options", {})


def indexes(storage, database, collection):
    """`Storage._iter_indexes`."""
    cursor = storage._cursor(secantus.storage._IDX_TABLE)
    cursor.set_key(database, collection, "")
    found = cursor.search_near()
    if found == secantus.storage.wt.WT_NOTFOUND or (found < 0 and cursor.next() != 0):
        return
    prefix = pack("SS", database, collection)
    while True:
        key = bytes(cursor._get_key())
        if not key.startswith(prefix):
            return
        name, fields, options = _definition(key, bytes(cursor._get_value()))
        yield name, dict(fields), dict(options)
        if cursor.next() != 0:
            return


_options_map = secantus.storage.Storage._index_options_map
# The same without its repetition where another write was met.
_insert_chunk = secantus.storage.Storage._insert_chunk.__wrapped__

_inserting = threading.local()


def options_map(storage, database, collection):
    """`Storage._index_options_map`."""
    known = getattr(_inserting, "options", None)
    if known is None:
        return _options_map(storage, database, collection)
    key = (database, collection)
    if key not in known:
        known[key] = _options_map(storage, database, collection)
    return known[key]


@secantus.storage._retry_write_conflicts
def insert_chunk(storage, *arguments, **options):
    """`Storage._insert_chunk`, which holds the collection's lock."""
    _inserting.options = {}
    try:
        return _insert_chunk(storage, *arguments, **options)
    finally:
        _inserting.options = None


_variants = secantus.storage._index_key_variants
_makes_multikey = secantus.storage._doc_makes_multikey
_write_entries = secantus.storage.Storage._write_index_entries

_TEXT = bytes([sortkey.RANK_STRING])
_LIST = bytes([sortkey.RANK_ARRAY])


_INVERTED = bytes(range(255, -1, -1))


def _key(value, direction):
    """`sortkey.encode_value_directed`."""
    if type(value) is not str:
        return sortkey.encode_value_directed(value, direction)
    key = _TEXT + value.encode().replace(b"\0", b"\0\xff")
    return key.translate(_INVERTED) if direction == -1 else key


def _keys(value, direction):
    """Those of one field: of each item of an array, and of the whole array."""
    if type(value) is not list:
        return [_key(value, direction)]
    keys = [_key(item, direction) for item in value]
    if direction == 1 and all(type(item) is str for item in value):
        items = [_TEXT + key[1:].replace(b"\0", b"\0\xff") + sortkey.COMPOUND_SEP for key in keys]
        keys.append(_LIST + b"".join(items) + b"\0")
    else:
        keys.append(_key(value, direction))
    return keys


def _directions(fields, sparse, collation=None):
    """The fields of an index with their directions, if its keys can be made here."""
    if sparse or collation is not None or any("." in field for field in fields):
        return None
    return [(field, int(direction)) for field, direction in fields.items()]


def _combined(document, directions):
    """All keys of a document, of each combination of those of its fields."""
    keys = None
    for field, direction in directions:
        of_field = _keys(document.get(field), direction)
        if keys is None:
            keys = of_field
        elif len(of_field) == 1:
            ending = sortkey.COMPOUND_SEP + of_field[0]
            keys = [key + ending for key in keys]
        else:
            endings = [sortkey.COMPOUND_SEP + key for key in of_field]
            keys = [key + ending for key in keys for ending in endings]
    return keys if len(keys) == 1 else list(dict.fromkeys(keys))


def variants(document, fields, *, sparse, collation=None):
    """`storage._index_key_variants`."""
    directions = _directions(fields, sparse, collation)
    if directions is None or type(document) is not dict:
        return _variants(document, fields, sparse=sparse, collation=collation)
    return _combined(document, directions)


def makes_multikey(document, fields):
    """`storage._doc_makes_multikey`."""
    if type(document) is not dict or any("." in field for field in fields):
        return _makes_multikey(document, fields)
    return any(type(document.get(field)) is list for field in fields)


@functools.lru_cache(maxsize=MOST_REMEMBERED)
def _beginning(*names):
    """That of the keys of an index's entries."""
    return pack("SSS", *names)


def _written(storage, database, collection, indexes, partials):
    """How entries of these indexes are written; None if not all can be here."""
    options = storage._index_options_map(database, collection)
    if partials or any("collation" in chosen for chosen in options.values()):
        return None
    ways = []
    for name, fields, sparse, unique in indexes:
        if any(type(direction) is str for direction in fields.values()):
            return None
        claims = unique or options.get(name, {}).get("prepareUnique")
        ways.append((name, fields, sparse, _directions(fields, sparse), _beginning(database, collection, name), claims))
    return ways


def _ways(storage, database, collection, indexes, partials):
    """`_written`, once for all documents of an insertion."""
    known = getattr(_inserting, "options", None)
    if known is None:
        return _written(storage, database, collection, indexes, partials)
    key = (id(indexes), id(partials))
    if key not in known:
        known[key] = _written(storage, database, collection, indexes, partials)
    return known[key]


def write_entries(storage, database, collection, document, indexes, partials=None, *, recordid):
    """`Storage._write_index_entries`."""
    if partials is None:
        partials = storage._partial_filters(database, collection)
    ways = _ways(storage, database, collection, indexes, partials)
    if ways is None or type(document) is not dict:
        return _write_entries(storage, database, collection, document, indexes, partials, recordid=recordid)
    cursor = storage._cursor(secantus.storage._IDX_ENTRIES_TABLE)
    ending = secantus.storage._pack_entry(b"", recordid)
    cursor._value = b""
    for name, fields, sparse, directions, beginning, claims in ways:
        if directions is None:
            keys = _variants(document, fields, sparse=sparse)
        else:
            keys = _combined(document, directions)
        for key in keys:
            # The engine reads both where they are.
            cursor._key = beginning + key.replace(b"\0", b"\0\xff") + ending
            cursor._set_key(cursor._key)
            cursor._set_value(cursor._value)
            if cursor.insert() != 0:
                raise KeyError
            if claims:
                storage._claim_unique_key(database, collection, name, key, recordid, fields, document, None)


def scan_index(storage, database, collection, name, key, *, prefix=False):
    """`Storage._scan_index_for_id_keys`."""
    cursor = storage._cursor(secantus.storage._IDX_ENTRIES_TABLE)
    # What has been escaped holds no two null bytes, which end it.
    beginning = _beginning(database, collection, name) + secantus.storage._escape_kb(key)
    if not prefix:
        beginning += secantus.storage._ENTRY_SEP
    cursor._key = beginning
    cursor._set_key(beginning)
    found = cursor.search_near()
    if found == secantus.storage.wt.WT_NOTFOUND or (found < 0 and cursor.next() != 0):
        return []
    documents = []
    while (entry := bytes(cursor._get_key())).startswith(beginning):
        documents.append(int.from_bytes(entry[-8:], "big"))
        if cursor.next() != 0:
            break
    return documents


_emit_log = secantus.storage.Storage._emit_oplog


def emit_log(storage, entries, pre_images=None):
    """`Storage._emit_oplog`, with each document encoded once."""
    return _emit_log(storage, [_encoded(entry) for entry in entries], pre_images)


def _encoded(entry):
    """An entry with its document encoded, which puts an `_id` first."""
    document = entry.get("o")
    if type(document) is not dict or next(iter(document), None) != "_id":
        return entry
    return {**entry, "o": RawBSONDocument(bson.encode(document))}


# Of these kinds nothing can be changed.
_FIXED = frozenset([
    str, bytes, int, float, bool, type(None), datetime.datetime,
    bson.Int64, bson.ObjectId, bson.Timestamp, bson.Decimal128,
])


def copied(value):
    """`copy.deepcopy`, of what BSON is decoded to."""
    kind = type(value)
    if kind in _FIXED:
        return value
    if kind is list:
        return [copied(item) for item in value]
    if kind is dict:
        return {name: copied(item) for name, item in value.items()}
    return copy.deepcopy(value)


class _Copying:
    """The module `copy` as the projection uses it."""

    deepcopy = staticmethod(copied)


OF_STORAGE = {
    "_iter_indexes": indexes,
    "_index_options_map": options_map,
    "_insert_chunk": insert_chunk,
    "_write_index_entries": write_entries,
    "_scan_index_for_id_keys": scan_index,
    "_emit_oplog": emit_log,
}


def install():
    """From now on the server takes these ways."""
    packing.pack = swig_wiredtiger.pack = pack
    packing.unpack = swig_wiredtiger.unpack = unpack
    query._op_matches = matches
    secantus.storage._index_key_variants = variants
    secantus.storage._doc_makes_multikey = makes_multikey
    for name, way in OF_STORAGE.items():
        setattr(secantus.storage.Storage, name, way)
    projection.copy = _Copying
