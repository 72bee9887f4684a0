"""Compares a file that the writer wrote with what the public package `gguf` reads in it.

Arguments: the file, and a JSON file of what should be in it. Exits with an assertion on the first difference.
"""

import json
import sys

import gguf
import numpy as np

TYPES = {
    "f32": "FLOAT32", "f64": "FLOAT64", "u8": "UINT8", "u32": "UINT32", "u64": "UINT64",
    "i32": "INT32", "bool": "BOOL", "str": "STRING",
}

path, expected_path = sys.argv[1:]
expected = json.load(open(expected_path, encoding="utf-8"))
reader = gguf.GGUFReader(path)

keys = [key for key in reader.fields if not key.startswith("GGUF.")]
assert keys == [entry["key"] for entry in expected["metadata"]], keys
for entry in expected["metadata"]:
    field = reader.fields[entry["key"]]
    types = [t.name for t in field.types]
    if entry["array"]:
        # The package names the element type only where there is an element.
        assert types == ["ARRAY"] + ([TYPES[entry["type"]]] if entry["value"] else []), (entry, types)
        value = field.contents() if entry["value"] else []
    else:
        assert types == [TYPES[entry["type"]]], (entry, types)
        value = field.contents()
    assert value == entry["value"] and type(value) is type(entry["value"]), (entry, value)

assert [t.name for t in reader.tensors] == [t["name"] for t in expected["tensors"]]
for tensor, entry in zip(reader.tensors, expected["tensors"]):
    kind = tensor.tensor_type
    assert kind.name == entry["type"].upper(), (entry["name"], kind)
    # The package keeps GGUF's order, fastest first.
    assert tensor.shape.tolist() == entry["shape"][::-1], (entry["name"], tensor.shape)
    values = gguf.quants.dequantize(tensor.data, kind)
    assert values.shape == tuple(entry["shape"]), (entry["name"], values.shape)
    decoded = np.array(entry["decoded"], dtype=np.float32)
    assert np.array_equal(values.ravel(), decoded), entry["name"]
    # Its quantizer, from the same numbers, gives the same bytes; it has none for k-quants.
    if kind.name.endswith("_K"):
        continue
    source = np.array(entry["source"], dtype=np.float32).reshape(entry["shape"])
    ours = np.ascontiguousarray(tensor.data).view(np.uint8).ravel()
    theirs = np.ascontiguousarray(gguf.quants.quantize(source, kind)).view(np.uint8).ravel()
    assert np.array_equal(ours, theirs), entry["name"]

# And the other way: a file that the package writes, for the reader to read.
writer = gguf.GGUFWriter(path + ".python", "nijimi")
writer.add_uint32("test.u32", 7)
stored = {tensor.name: tensor.data for tensor in reader.tensors}
writer.add_array("test.strs", ["a", "b"])
for entry in expected["tensors"]:
    source = np.array(entry["source"], dtype=np.float32).reshape(entry["shape"])
    kind = gguf.GGMLQuantizationType[entry["type"].upper()]
    data = stored[entry["name"]] if kind.name.endswith("_K") else gguf.quants.quantize(source, kind)
    writer.add_tensor(entry["name"], data, raw_dtype=kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
