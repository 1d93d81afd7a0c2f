/*
 * Names for machines that were given none: of a quality and of somebody who built or steered ships.
 */
#pragma once

/* A name, allocated. From the second attempt on it ends with a number. */
char *name_invent(int attempt);
