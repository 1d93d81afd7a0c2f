# `make fuzz`: libFuzzer on the loader. What it finds worth keeping goes into the kept corpus by hand:
#   build/fuzz/elf -merge=1 tests/fuzz/corpus/elf build/fuzz/corpus
FUZZ_SECONDS ?= 60
FUZZ_SRC := tests/fuzz/fuzz_elf.c tests/fuzz/program_case.c loader/elf.c loader/script.c

$(BUILD)/fuzz/elf: $(FUZZ_SRC) $(wildcard loader/*.h tests/fuzz/*.h)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)clang-14 -std=gnu11 -O1 -g -I. -DKNARR_UNIT_TEST=1 -Wno-unused-parameter \
	    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined $(FUZZ_SRC) -o $@

.PHONY: fuzz
fuzz: ## fuzz the loader of ELF files for FUZZ_SECONDS
	@scripts/deps.sh fuzz
	@$(MAKE) --no-print-directory $(BUILD)/fuzz/elf
	@mkdir -p $(BUILD)/fuzz/corpus
	$(BUILD)/fuzz/elf -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=512 -print_final_stats=1 \
	    $(BUILD)/fuzz/corpus tests/fuzz/corpus/elf
