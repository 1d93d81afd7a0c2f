# `make fuzz`: libFuzzer on what parses files of others: the loader, the initrd, EROFS images, ext4 disks, 9P servers, the programs that
# `knarr check` reads, and on what network cards and other machines send. What it finds worth keeping goes into the kept
# corpus by hand:  build/fuzz/elf -merge=1 tests/fuzz/corpus/elf build/fuzz/corpus/elf
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := elf initrd erofs 9p ext4 virtio_net lwip check image
FUZZ_SRC_elf := tests/fuzz/fuzz_elf.c tests/fuzz/program_case.c loader/elf.c loader/script.c
FUZZ_SRC_initrd := tests/fuzz/fuzz_initrd.c $(shell sed -n '1,10s,^// link: *,,p' tests/unit/test_initrd.c)
FUZZ_FLAGS_initrd := -D_GNU_SOURCE -D__KERNEL__
FUZZ_SRC_erofs := tests/fuzz/fuzz_erofs.c $(filter-out tests/unit/erofs_host.c,$(shell sed -n '1,10s,^// link: *,,p' tests/unit/test_erofs.c))
FUZZ_FLAGS_erofs := -D_GNU_SOURCE -D__KERNEL__
FUZZ_SRC_9p := tests/fuzz/fuzz_9p.c $(shell sed -n '1,10s,^// link: *,,p' tests/unit/test_9p_client.c)
FUZZ_FLAGS_9p := -D_GNU_SOURCE -D__KERNEL__
FUZZ_SRC_ext4 := tests/fuzz/fuzz_ext4.c $(sort $(shell sed -n '1,10s,^// link: *,,p' tests/unit/test_ext4.c))
FUZZ_FLAGS_ext4 := -D_GNU_SOURCE -D__KERNEL__
FUZZ_SRC_virtio_net := tests/fuzz/fuzz_virtio_net.c $(shell sed -n '1,10s,^// link: *,,p' tests/unit/test_virtio_net.c)
FUZZ_FLAGS_virtio_net := -D_GNU_SOURCE
FUZZ_SRC_check := tests/fuzz/fuzz_check.c tools/check/must.c $(filter tools/%.c,$(shell sed -n '1,10s,^// link: *,,p' tests/unit/test_check.c))
FUZZ_FLAGS_check := -D_GNU_SOURCE -lelf
FUZZ_SRC_image := tests/fuzz/fuzz_image.c $(addprefix tools/,common.c $(addprefix image/,config.c digest.c docker_archive.c json.c oci.c user.c))
FUZZ_FLAGS_image := -D_GNU_SOURCE -Wl,--wrap=die -ljansson
FUZZ_LWIP_FLAGS := -D_GNU_SOURCE -isystem $(LWIP)/src/include -idirafter net -idirafter net/lwip
FUZZ_SRC_lwip := tests/fuzz/fuzz_lwip.c $(filter-out %.a,$(shell sed -n '1,10s,^// link: *,,p' tests/unit/test_lwip_frames.c)) $(BUILD)/fuzz/lwip.a
FUZZ_FLAGS_lwip := $(FUZZ_LWIP_FLAGS)
FUZZ_LEN := 8192
FUZZ_LEN_9p := 2048
FUZZ_LEN_check := 16384
FUZZ_LEN_erofs := 40960
FUZZ_LEN_ext4 := 256
FUZZ_LEN_virtio_net := 512

# lwIP's files have names of their own for some functions each, so that they are compiled one by one.
FUZZ_LWIP_OBJ := $(patsubst %,$(BUILD)/fuzz/lwip-obj/%.o,$(LWIP_SRC))
$(BUILD)/fuzz/lwip-obj/%.c.o: $(LWIP)/.checksum net/lwipopts.h net/lwip/hooks.h net/lwip/arch/cc.h
	@mkdir -p $(@D)
	$(Q)clang-14 -std=gnu11 -O1 -g -w -I. -DKNARR_UNIT_TEST=1 $(FUZZ_LWIP_FLAGS) $(LWIP_RENAMES) $(LWIP_CFLAGS_$(notdir $*.c)) \
	    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -c $(LWIP)/src/$*.c -o $@
$(BUILD)/fuzz/lwip.a: $(FUZZ_LWIP_OBJ)
	$(Q)rm -f $@; ar rcs $@ $(FUZZ_LWIP_OBJ)

define fuzz_rule
$(BUILD)/fuzz/$(1): $(FUZZ_SRC_$(1)) $(wildcard loader/*.h fs/*.h fs/*/*.h tests/fuzz/*.h tests/unit/*.h)
	@mkdir -p $$(@D)
	$$(call say,FUZZ,$$@)
	$$(Q)clang-14 -std=gnu11 -O1 -g -I. -DKNARR_UNIT_TEST=1 $(FUZZ_FLAGS_$(1)) -Wno-unused-parameter \
	    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined $(FUZZ_SRC_$(1)) -o $$@
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call fuzz_rule,$(t))))

.PHONY: fuzz
fuzz: ## fuzz the loader, the initrd, EROFS, ext4, 9P, network cards and the network stack, FUZZ_SECONDS each
	@scripts/deps.sh fuzz
	@$(MAKE) --no-print-directory $(addprefix $(BUILD)/fuzz/,$(FUZZ_TARGETS))
	@$(foreach t,$(FUZZ_TARGETS),mkdir -p $(BUILD)/fuzz/corpus/$(t) && \
	    $(BUILD)/fuzz/$(t) -max_total_time=$(FUZZ_SECONDS) -max_len=$(or $(FUZZ_LEN_$(t)),$(FUZZ_LEN)) -rss_limit_mb=1024 \
	        -print_final_stats=1 $(BUILD)/fuzz/corpus/$(t) $(wildcard tests/fuzz/corpus/$(t)) &&) true
