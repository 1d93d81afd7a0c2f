"""The loader: the same program linked in every odd way that linkers know, on Linux and on Knarr."""
from harness import compare, compiled, knarr, linux, test

SHAPES = {
    "plain": ("musl", []),
    "pie": ("musl-pie", []),
    "glibc": ("glibc", []),
    "glibc-pie": ("glibc-pie", []),
    "pages-of-2M": ("musl", ["-Wl,-z,max-page-size=0x200000"]),
    "pages-of-64K-pie": ("glibc-pie", ["-Wl,-z,max-page-size=0x10000"]),
    "pages-of-2M-pie": ("glibc-pie", ["-Wl,-z,max-page-size=0x200000"]),
    "text-and-data-share-a-page": ("musl", ["-Wl,-z,noseparate-code"]),
    "one-writable-segment": ("musl", ["-Wl,--omagic"]),
    "text-not-on-a-page": ("musl", ["-Wl,--nmagic"]),
    "executable-stack": ("musl", ["-z", "execstack"]),
    "executable-stack-glibc": ("glibc", ["-z", "execstack"]),
    "without-relro": ("glibc", ["-Wl,-z,norelro"]),
    "full-relro-pie": ("glibc-pie", ["-Wl,-z,relro,-z,now"]),
    "low-address": ("musl", ["-Wl,-Ttext-segment=0x10000"]),
    "data-far-away": ("musl", ["-Wl,-Tdata=0x40000000"]),
    "section-headers-gone": ("musl", ["-s", "-Wl,-z,nosectionheader"]),
    "stripped": ("glibc", ["-s"]),
    "build-id-and-gnu-hash": ("glibc-pie", ["-Wl,--build-id,--hash-style=gnu"]),
    "lots-of-sections": ("musl", ["-ffunction-sections", "-fdata-sections", "-Wl,--unique"]),
}

for shape, (flavour, flags) in SHAPES.items():

    @test(f"loader/{shape}")
    def function(flavour=flavour, flags=flags):
        program = compiled("shape", flavour, flags)
        compare(linux([program]), knarr("-m", "64M", program))
