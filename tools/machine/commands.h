/*
 * The commands about machines that run or have run: each is main() of one, with argv[0] its name.
 */
#pragma once

int ps_main(int argc, char **argv);
int logs_main(int argc, char **argv);
int stop_main(int argc, char **argv);
int kill_main(int argc, char **argv);
int wait_main(int argc, char **argv);
int rm_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int stats_main(int argc, char **argv);
int attach_main(int argc, char **argv);
int exec_main(int argc, char **argv);
