/*
 * What is known of machines: a directory for each, which outlives the processes (docs/machines.md). Only the process that runs a machine, its monitor,
 * writes there while it runs; it holds a lock for as long as it lives, so that the dead are told from the living whatever became of them.
 */
#pragma once

#include "tools/image/json.h"

enum { MACHINE_ID = 64, MACHINE_ID_SHORT = 12 };

struct machine {
    char id[MACHINE_ID + 1];
    int directory;
    int lock;     /* of the monitor; otherwise -1 */
    json_t *json; /* machine.json */
};

/* The directory of all machines, made when it is missing (for this user alone). Allocated once; dies when there is none to be had. */
const char *state_directory(void);

/*
 * A new machine with its directory, locked by this process, and with status "created". name NULL: one is made up. Dies when another machine
 * has that name, or it is none. The caller fills the json and saves it.
 */
struct machine *machine_create(const char *name);

/* The machine of that name, ID, or beginning of one ID only. Dies when there is none. Not locked. */
struct machine *machine_find(const char *word);

/* All machines, the youngest first; NULL behind the last one. Those that cannot be read are left out. */
struct machine **machine_list(void);

/* machine.json as it is now: in one step. False with errno; a reader has the older one then. */
bool machine_save(struct machine *machine);

/* Reads machine.json again. False: it is gone. */
bool machine_reload(struct machine *machine);

/* A member, never NULL: "" where there is none. */
const char *machine_text(const struct machine *machine, const char *member);
const char *machine_name(const struct machine *machine);

/* "created", "running" or "exited"; one whose monitor has gone without a word is exited. */
const char *machine_status(const struct machine *machine);
bool machine_is_running(const struct machine *machine);

/* Takes its name and all its files away. Nobody may run it. False with errno. */
bool machine_remove(struct machine *machine);

void machine_close(struct machine *machine);

/* Now, as RFC 3339 has it with nanoseconds, in UTC. */
enum { TIME_TEXT = 31 };
void time_text(char text[TIME_TEXT]);
