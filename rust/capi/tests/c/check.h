/* A check that ends the program, for the tests. */
#ifndef CHECK_H
#define CHECK_H

#include <edgesentry.h>

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            char reason[512];                                                                                \
            edgesentry_last_error(reason, sizeof reason);                                                    \
            fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #condition, reason);         \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
