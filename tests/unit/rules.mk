# lwIP for the host, under the sanitizers: tests link $(BUILD)/unit/lwip.a with the files of net/lwip/ that they are about.
LWIP_HOST_OBJ := $(patsubst %,$(BUILD)/unit/lwip/%.o,$(LWIP_SRC))

$(BUILD)/unit/lwip/%.c.o: $(LWIP)/.checksum net/lwipopts.h net/lwip/hooks.h net/lwip/arch/cc.h
	@mkdir -p $(@D)
	$(call say,UNIT,lwip/$*.c)
	$(Q)$(CC) $(UNIT_CFLAGS) -w -isystem $(LWIP)/src/include -idirafter net -idirafter net/lwip $(LWIP_RENAMES) $(LWIP_CFLAGS_$(notdir $*.c)) \
	    -c $(LWIP)/src/$*.c -o $@

$(BUILD)/unit/lwip.a: $(LWIP_HOST_OBJ)
	$(Q)rm -f $@; ar rcs $@ $(LWIP_HOST_OBJ)
