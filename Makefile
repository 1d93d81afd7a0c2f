# Builds the kernel (build/knarr.elf) and the host program (build/knarr); runs, tests and checks both.
# `make help` lists the targets. BUILD=DIR puts everything elsewhere; V=1 shows the commands.

BUILD   ?= build
VERSION := 0.1.0

CC      := gcc
LD      := ld
NM      := nm
OBJCOPY := objcopy

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(2)')

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=$(shell nproc)
endif

.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

WARNINGS := -Wall -Wextra -Werror -Wno-unused-parameter -Wstrict-prototypes -Wmissing-prototypes \
            -Wvla -Wshadow -Wundef

# ---- lwIP: a Debian source package, fetched and checked by scripts/fetch-source.sh; all builds share what is unpacked ----

SOURCES ?= build/third-party
LWIP    := $(SOURCES)/lwip
LWIP_SRC := $(addprefix core/,def.c inet_chksum.c init.c ip.c netif.c pbuf.c stats.c tcp.c tcp_in.c tcp_out.c udp.c \
              $(addprefix ipv4/,dhcp.c etharp.c icmp.c igmp.c ip4.c ip4_addr.c ip4_frag.c) \
              $(addprefix ipv6/,ethip6.c icmp6.c inet6.c ip6.c ip6_addr.c ip6_frag.c mld6.c nd6.c)) netif/ethernet.c

$(LWIP)/.checksum:
	$(call say,FETCH,lwip)
	$(Q)scripts/fetch-source.sh lwip $(SOURCES)
ifneq ($(shell cat $(LWIP)/.checksum 2>/dev/null),$(shell grep '  lwip_' scripts/sources.sha256))
.PHONY: $(LWIP)/.checksum
endif

# ---- the kernel ------------------------------------------------------------------------------------------------------

KERNEL_SRC := $(sort $(wildcard kernel/*.c kernel/*/*.c kernel/x86/*.S drivers/*.c fs/*.c fs/*/*.c net/*.c net/*/*.c \
                                loader/*.c loader/*.S syscall/*.c))
# kernel/debug/ is only part of the checked kernel (`make checked`), a build of its own with CHECKED=1.
ifndef CHECKED
KERNEL_SRC := $(filter-out kernel/debug/%,$(KERNEL_SRC))
endif
LWIP_OBJ := $(patsubst %,$(BUILD)/obj/lwip/%.o,$(LWIP_SRC))
KERNEL_OBJ := $(patsubst %,$(BUILD)/obj/%.o,$(KERNEL_SRC)) $(LWIP_OBJ)
KERNEL_LDS := kernel/x86/kernel.ld

# Of the system's headers only those of the compiler and of linux-libc-dev are used; the guard against smashed stacks
# lives in the per-CPU area, at %gs:40.
KERNEL_INC := -nostdinc -isystem $(shell $(CC) -print-file-name=include) \
              -isystem $(LWIP)/src/include -isystem /usr/include/x86_64-linux-gnu -isystem /usr/include -I. \
              -idirafter net -idirafter net/lwip
KERNEL_CFLAGS := -std=gnu11 -O2 -g -ffreestanding $(KERNEL_INC) -DKNARR_VERSION='"$(VERSION)"' \
                 -ffile-prefix-map=$(CURDIR)/= \
                 -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-pic -fno-pie -fcf-protection=none \
                 -fno-strict-aliasing -fno-omit-frame-pointer -fno-common -fno-asynchronous-unwind-tables \
                 -ffunction-sections -fdata-sections -fstack-protector-strong -mstack-protector-guard=tls \
                 -mstack-protector-guard-reg=gs -mstack-protector-guard-offset=40 $(WARNINGS)
ifdef CHECKED
KERNEL_CFLAGS += -DKNARR_CHECKED=1 -fno-optimize-sibling-calls -Wno-missing-field-initializers \
                 -Wno-maybe-uninitialized
endif
KERNEL_ASFLAGS := $(KERNEL_CFLAGS) -D__ASSEMBLY__ -DVDSO_IMAGE='"$(BUILD)/vdso.so"'
KERNEL_LDFLAGS := -m elf_x86_64 -nostdlib -static --gc-sections -z max-page-size=4096 -z noexecstack \
                  --build-id=none --fatal-warnings -T $(KERNEL_LDS)

# What runs seldom is made small, the rest fast. Not in the checked kernel, whose reports name the callers of inline functions.
ifndef CHECKED
KERNEL_SMALL := $(addprefix net/inet/,control.c datagram_connect.c tcp_error.c tcp_patience.c icmp.c multicast.c option.c ping.c raw.c table.c \
    address.c family.c tcp_connect.c tcp_option.c tcp_table.c) \
    $(wildcard fs/9p/*.c fs/procfs*.c fs/sysfs*.c fs/tty*.c fs/console*.c fs/mqueue*.c fs/inotify*.c kernel/ipc/*.c kernel/debug/*.c \
                           loader/core*.c syscall/trace*.c syscall/ipc_*.c) \
    $(addprefix fs/ext4/,checkpoint.c crc.c fallocate.c group.c indirect.c inode_alloc.c ioctl.c options.c orphan.c recovery.c super.c thread.c xattr.c) \
    $(addprefix fs/,blockdev_ioctl.c erofs/super.c erofs/xattr.c frame.c init.c overlay/directory.c mount.c mount_calls.c mount_flags.c pty.c rename.c seqbuf.c superblock.c sync.c tmpfs_mount.c xattr.c) \
    $(addprefix kernel/,boot.c boot_multiboot.c chardev.c init.c ksyms.c log.c main.c netdev.c panic.c partition.c printf.c time_adjust.c uts.c) \
    $(addprefix kernel/memory/,aspace_info.c oom.c ranges.c) \
    $(addprefix kernel/process/,access.c core.c cpu_timer.c crash.c posix_timer.c) \
    $(addprefix kernel/threads/,futex_waitv.c loadavg.c) \
    $(addprefix kernel/x86/,acpi.c apic.c cpu.c cpuinfo.c hpet.c ioapic.c kvmclock.c mptable.c pit.c poweroff.c smp.c) \
    $(addprefix drivers/,drivers.c pci.c rtc.c serial.c virtio_9p.c virtio_mmio.c virtio_pci.c virtio_rng.c) \
    $(addprefix loader/,copy.c privileges.c program.c script.c session.c) \
    $(addprefix net/,option.c scm.c unix_gc.c unix_name.c inet/ioctl.c inet/sysctl.c lwip/administer.c lwip/icmp_limit.c) $(wildcard net/netlink/*.c) \
    $(addprefix syscall/,adjtimex.c attributes.c capability.c cputime.c file_handle.c identity.c inotify.c kcmp.c limits.c membarrier.c \
                         misc.c mount.c mqueue.c names.c numa.c prctl.c priority.c process_vm.c remap_file_pages.c sched.c stats.c \
                         sync.c timer.c ustat.c xattr.c)
LWIP_SMALL := $(addprefix core/,def.c init.c netif.c stats.c \
    ipv4/dhcp.c ipv4/icmp.c ipv4/igmp.c ipv4/ip4_addr.c ipv4/ip4_frag.c ipv6/icmp6.c ipv6/ip6_addr.c ipv6/ip6_frag.c ipv6/mld6.c ipv6/nd6.c)
endif

# lwIP takes the libc headers of net/lwip/libc/ before those of the system. Warnings are errors in our own files only.
LWIP_RENAMES := -Dstats_init=lwip_stats_init
LWIP_CFLAGS = -Inet/lwip/libc $(KERNEL_CFLAGS) -w $(LWIP_RENAMES)
# Knarr has functions of these names, which call lwIP's (net/lwip/tcp_buckets.c, tcp_write.c, timers.c, icmp_limit.c).
LWIP_CFLAGS_tcp.c := -Dtcp_netif_ip_addr_changed=lwip_tcp_netif_ip_addr_changed
LWIP_CFLAGS_tcp_in.c := -Dtcp_input=lwip_tcp_input
LWIP_CFLAGS_tcp_out.c := -Dtcp_output=lwip_tcp_output -Dtcp_rexmit_rto_commit=lwip_tcp_rexmit_rto_commit
# Of UDP lwIP serves its DHCP client; sockets and raw_input are net/inet/udp_input.c and net/inet/raw.c.
LWIP_CFLAGS_udp.c := -Dudp_input=lwip_udp_input
LWIP_CFLAGS_dhcp.c := -DLWIP_DNS=1 # tells name servers (net/lwip/config.c)
LWIP_CFLAGS_nd6.c := -DLWIP_DNS=1
LWIP_CFLAGS_etharp.c := -Detharp_input=lwip_etharp_input
LWIP_CFLAGS_icmp.c := -Dicmp_dest_unreach=lwip_icmp_dest_unreach -Dicmp_time_exceeded=lwip_icmp_time_exceeded
LWIP_CFLAGS_icmp6.c := -Dicmp6_input=lwip_icmp6_input -Dicmp6_dest_unreach=lwip_icmp6_dest_unreach \
                       -Dicmp6_time_exceeded_with_addrs=lwip_icmp6_time_exceeded_with_addrs -Dicmp6_param_problem=lwip_icmp6_param_problem
LWIP_CFLAGS_igmp.c := -Digmp_input=lwip_igmp_input

$(BUILD)/obj/lwip/%.c.o: $(LWIP)/.checksum
	@mkdir -p $(@D)
	$(call say,CC,lwip/$*.c)
	$(Q)$(CC) $(LWIP_CFLAGS) $(LWIP_CFLAGS_$(notdir $*.c)) $(if $(filter $(LWIP_SMALL),$*.c),-Os) -MD -MP -c $(LWIP)/src/$*.c -o $@

$(BUILD)/obj/%.c.o: %.c | $(LWIP)/.checksum
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(KERNEL_CFLAGS) $(if $(filter $(KERNEL_SMALL),$<),-Os) -MD -MP -c $< -o $@

$(BUILD)/obj/%.S.o: %.S
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(KERNEL_ASFLAGS) -MMD -MP -c $< -o $@

# The kernel is linked twice: first without, then with its own table of function names (kernel/ksyms.h). The table lies
# behind all code, so the addresses of functions do not move between the two.
$(BUILD)/knarr.pass1.elf: $(KERNEL_OBJ) $(KERNEL_LDS) $(BUILD)/ksyms.none.o
	$(call say,LD,$@)
	$(Q)$(LD) $(KERNEL_LDFLAGS) $(KERNEL_OBJ) $(BUILD)/ksyms.none.o -o $@

$(BUILD)/knarr.debug.elf: $(KERNEL_OBJ) $(KERNEL_LDS) $(BUILD)/ksyms.o
	$(call say,LD,$@)
	$(Q)$(LD) $(KERNEL_LDFLAGS) $(KERNEL_OBJ) $(BUILD)/ksyms.o -o $@

ifndef CHECKED
$(BUILD)/knarr.elf: $(BUILD)/knarr.debug.elf
	$(call say,STRIP,$@)
	$(Q)$(OBJCOPY) --strip-all $< $@

else
# The checked kernel's table names data, too. Data lies behind the table and moves once more, without a change of its size.
$(BUILD)/knarr.elf: $(BUILD)/knarr.debug.elf $(KERNEL_LDS)
	$(Q)$(NM) --numeric-sort $< | scripts/ksyms.sh data >$(BUILD)/ksyms.all.S
	$(Q)$(CC) -c $(BUILD)/ksyms.all.S -o $(BUILD)/ksyms.all.o
	$(Q)$(LD) $(KERNEL_LDFLAGS) $(KERNEL_OBJ) $(BUILD)/ksyms.all.o -o $(BUILD)/knarr.pass3.elf
	$(Q)$(NM) --numeric-sort $(BUILD)/knarr.pass3.elf | scripts/ksyms.sh data >$(BUILD)/ksyms.all.S
	$(Q)$(CC) -c $(BUILD)/ksyms.all.S -o $(BUILD)/ksyms.all.o
	$(call say,LD,$@)
	$(Q)$(LD) $(KERNEL_LDFLAGS) $(KERNEL_OBJ) $(BUILD)/ksyms.all.o -o $@
endif

$(BUILD)/ksyms.none.S: scripts/ksyms.sh
	@mkdir -p $(@D)
	$(Q)scripts/ksyms.sh </dev/null >$@

$(BUILD)/ksyms.S: $(BUILD)/knarr.pass1.elf scripts/ksyms.sh
	$(Q)$(NM) --numeric-sort $< | scripts/ksyms.sh >$@

$(BUILD)/ksyms%.o: $(BUILD)/ksyms%.S
	$(Q)$(CC) -c $< -o $@
$(BUILD)/ksyms.o: $(BUILD)/ksyms.S
	$(Q)$(CC) -c $< -o $@

# ---- the vDSO: a small shared object for the application, carried inside the kernel ----------------------------------

VDSO_SRC := $(sort $(wildcard loader/vdso/*.c loader/vdso/*.S))
VDSO_LDS := $(wildcard loader/vdso/vdso.lds)
VDSO_OBJ := $(patsubst %,$(BUILD)/obj/%.o,$(VDSO_SRC))
VDSO_CFLAGS := -std=gnu11 -O2 -g -ffreestanding $(KERNEL_INC) -ffile-prefix-map=$(CURDIR)/= -fPIC -fno-common \
               -fno-stack-protector -fcf-protection=none -fasynchronous-unwind-tables -fvisibility=hidden $(WARNINGS)

$(BUILD)/obj/loader/vdso/%.c.o: loader/vdso/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(VDSO_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/loader/vdso/%.S.o: loader/vdso/%.S
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(VDSO_CFLAGS) -D__ASSEMBLY__ -MMD -MP -c $< -o $@

$(BUILD)/vdso.debug.so: $(VDSO_OBJ) $(VDSO_LDS)
	$(call say,LD,$@)
	$(Q)$(LD) -m elf_x86_64 -shared -nostdlib -Bsymbolic --no-undefined -soname linux-vdso.so.1 --hash-style=both \
	    --eh-frame-hdr --build-id=none -z max-page-size=4096 -z noexecstack -z noseparate-code \
	    $(addprefix -T ,$(VDSO_LDS)) $(VDSO_OBJ) -o $@

$(BUILD)/vdso.so: $(BUILD)/vdso.debug.so
	$(Q)$(OBJCOPY) --strip-all $< $@

$(patsubst %,$(BUILD)/obj/%.o,$(wildcard loader/*.S)): $(BUILD)/vdso.so

# ---- the host program ------------------------------------------------------------------------------------------------

TOOL_SRC := $(sort $(wildcard tools/*.c tools/*/*.c))
TOOL_OBJ := $(patsubst %,$(BUILD)/host/%.o,$(TOOL_SRC))
TOOL_CFLAGS := -std=gnu11 -O2 -g -I. -D_GNU_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE \
               -DKNARR_VERSION='"$(VERSION)"' $(WARNINGS)
TOOL_LIBS := -lelf -l:libjansson.a # small: linked in, so that no start pays for loading it

$(BUILD)/host/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(TOOL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/knarr: $(TOOL_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) -pie -Wl,-z,relro,-z,now $(TOOL_OBJ) $(TOOL_LIBS) -o $@

# ---- unit tests: tests/unit/test_*.c, on the host under the sanitizers -----------------------------------------------
# Comments among a test's first ten lines say what belongs to it:
#     // link: kernel/memory/page.c kernel/list.c     sources of the kernel or of tools/ to compile and link with it
#     // libs: -larchive                       libraries
#     // flags: -DSOMETHING                    more compiler flags, for the test and its sources
# Headers are looked for in tests/unit/fakes/ first, then in the tree.

UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))
UNIT_CFLAGS := -std=gnu11 -O1 -g -Itests/unit/fakes -I. -D_GNU_SOURCE -DKNARR_UNIT_TEST=1 \
               -DKNARR_VERSION='"$(VERSION)"' -fsanitize=address,undefined -fno-sanitize-recover=undefined \
               -fno-omit-frame-pointer -Wall -Wextra -Werror -Wno-unused-parameter
unit_directive = $(shell sed -n '1,10s,^// $(1): *,,p' $(2))

define unit_rule
$(BUILD)/unit/$(1): tests/unit/$(1).c $(call unit_directive,link,tests/unit/$(1).c)
	@mkdir -p $$(@D)
	$$(call say,UNIT,$(1))
	$$(Q)for f in $$(wildcard $$(filter %.c,$$^)); do o=$$@.$$$$(echo $$$$f | tr / _).o; \
	    $(CC) $(UNIT_CFLAGS) $(call unit_directive,flags,tests/unit/$(1).c) -MMD -MP -MT $$@ -c $$$$f -o $$$$o || exit 1; \
	    set -- "$$$$@" $$$$o; done; \
	    $(CC) -fsanitize=address,undefined "$$$$@" -lcmocka $(call unit_directive,libs,tests/unit/$(1).c) -o $$@
endef
$(foreach t,$(basename $(notdir $(UNIT_SRC))),$(eval $(call unit_rule,$(t))))

# ---- targets ---------------------------------------------------------------------------------------------------------
# What tests/system, tests/guest, tests/bench and tests/fuzz need to build goes into a rules.mk of their own.

-include $(wildcard tests/*/rules.mk)

.PHONY: all kernel tool run test unit system stress integrity debian servers bench checked debug lint format docs deb deps clean help unit-binaries

all: kernel tool ## build the kernel and the host program
kernel: $(BUILD)/knarr.elf
tool: $(BUILD)/knarr

run: ## boot Debian's busybox with a short session in its shell
	@scripts/deps.sh build run
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) scripts/demo.sh

test: ## all tests: unit and system
	@scripts/deps.sh build run test
	@$(MAKE) --no-print-directory all checked unit-binaries
	@BUILD=$(BUILD) scripts/test.sh unit system

unit: unit-binaries ## only the unit tests
	@BUILD=$(BUILD) scripts/test.sh unit

system: all checked ## only the system tests (real boots)
	@BUILD=$(BUILD) scripts/test.sh system

unit-binaries: $(UNIT_BIN)

stress: ## run each of stress-ng's stressors for DURATION seconds (30) on 1 and 2 CPUs; ARGS="NAME..." chooses
	@scripts/deps.sh build run test
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) python3 -B tests/system/stress.py $(or $(DURATION),30) $(ARGS)

integrity: ## random operations on every file system against a model, SECONDS (120) each; SEED=N another course
	@scripts/deps.sh build run test
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) INTEGRITY_SECONDS=$(or $(SECONDS),120) INTEGRITY_SEED=$(or $(SEED),1) tests/system/run -v integrity/

debian: ## Debian's programs in a root made by mmdebstrap, and all of CPython's tests of files, processes, threads and waiting
	@scripts/deps.sh build run test
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) DEBIAN_TESTS=all tests/system/run -v debian/

servers: ## Debian's servers with real clients over taps and published ports, all of them; redis's own tests (ARGS="WORD..." chooses)
	@scripts/deps.sh build run test servers
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) SERVERS_TESTS=all tests/system/run -j 1 -v $(or $(ARGS),net/servers)

bench: ## measure Knarr beside Debian's Linux kernel
	@scripts/deps.sh build run test bench
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) tests/bench/run

checked: ## build the kernel that checks itself (docs/debugging.md): BUILD/knarr.checked.elf
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/checked CHECKED=1 kernel
	@cmp -s $(BUILD)/checked/knarr.elf $(BUILD)/knarr.checked.debug.elf || { \
	    $(OBJCOPY) --strip-all $(BUILD)/checked/knarr.elf $(BUILD)/knarr.checked.elf && \
	    cp $(BUILD)/checked/knarr.elf $(BUILD)/knarr.checked.debug.elf; }

debug: all ## boot with gdb's stub waiting; ARGS="PROGRAM args..." chooses the program
	@BUILD=$(BUILD) scripts/debug.sh $(ARGS)

lint: ## static checks: layers, cppcheck
	@scripts/deps.sh lint
	@BUILD=$(BUILD) scripts/lint.sh

format: ## clang-format over the whole tree
	@scripts/deps.sh lint
	@git ls-files '*.c' '*.h' | xargs clang-format -i

deb: ## make a Debian package of program, kernel, manual pages and completion: BUILD/knarr_VERSION_amd64.deb
	@scripts/deps.sh build deb
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) scripts/deb.sh

docs: ## make docs/syscalls.md from the table of system calls
	@scripts/syscalls.sh >docs/syscalls.md.new && mv docs/syscalls.md.new docs/syscalls.md

deps: ## install all packages that any target needs
	@scripts/deps.sh build run test bench lint debug

clean: ## remove everything built; sources that were fetched stay
	$(Q)find $(BUILD) -mindepth 1 -maxdepth 1 ! -name $(notdir $(SOURCES)) -exec rm -rf {} +

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile $(wildcard tests/*/rules.mk) | expand -t 12
	@echo "  BUILD=DIR builds elsewhere, V=1 shows the commands, ARGS=... are the arguments of make debug"

# A source that is gone is still named by what was made from it: make that again.
kernel/%.c drivers/%.c fs/%.c net/%.c loader/%.c syscall/%.c tools/%.c tests/%.c: ;
-include $(KERNEL_OBJ:.o=.d) $(VDSO_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(wildcard $(BUILD)/unit/*.d)
