/*
 * Signals by name or number, as docker and kill(1) take them: TERM, SIGTERM, 15, RTMIN+1.
 */
#pragma once

/* Dies when there is no such signal. */
int parse_signal(const char *text);
