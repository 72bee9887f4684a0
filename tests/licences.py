"""Every package that is built in, on any target, has a licence that is compatible with ours (those of deny.toml)."""
import json, re, subprocess, tomllib

allowed = set(tomllib.load(open("deny.toml", "rb"))["licenses"]["allow"])


def fits(expression):
    """An SPDX expression: of alternatives one is enough, of what is joined all are needed."""
    tokens = re.findall(r"[()]|[^()\s]+", expression.replace("/", " OR "))

    def either(i):
        ok, i = both(i)
        while i < len(tokens) and tokens[i] == "OR":
            other, i = both(i + 1)
            ok |= other
        return ok, i

    def both(i):
        ok, i = one(i)
        while i < len(tokens) and tokens[i] == "AND":
            other, i = one(i + 1)
            ok &= other
        return ok, i

    def one(i):
        if tokens[i] == "(":
            ok, i = either(i + 1)
            return ok, i + 1
        name, i = tokens[i], i + 1
        if i < len(tokens) and tokens[i] == "WITH":
            name, i = f"{name} WITH {tokens[i + 1]}", i + 2
        return name in allowed, i

    return either(0)[0]


assert fits("MIT OR Nothing") and fits("(Nothing OR MIT) AND Zlib") and not fits("MIT AND Nothing") and not fits("Nothing")
packages = []
for manifest in ["Cargo.toml", "python/Cargo.toml"]:
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", manifest]
    packages += json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
wrong = [f'{p["name"]} {p["version"]}: {p["license"]}' for p in packages if not p["license"] or not fits(p["license"])]
print(f"{len(packages)} packages")
if wrong:
    raise SystemExit("licences that deny.toml does not allow:\n" + "\n".join(wrong))
