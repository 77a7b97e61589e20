/* A library of tokens for tests: SoftHSM, with functions that misbehave while the file EDGESENTRY_TEST_TOKEN_FAULT names a
 * fault. EDGESENTRY_TEST_TOKEN_LIBRARY is the library of SoftHSM. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long (*function)();

/* The list of functions of PKCS#11 2.40, in the order of its header. */
enum { INITIALIZE = 0, LOGIN = 18, SIGN = 43, FUNCTIONS = 68 };
struct list {
    unsigned char version[2];
    function at[FUNCTIONS];
};

enum { FUNCTION_FAILED = 0x06, SESSION_HANDLE_INVALID = 0xb3 };

static struct list *softhsm;

static int is(const char *fault) {
    char text[32] = "";
    FILE *file = fopen(getenv("EDGESENTRY_TEST_TOKEN_FAULT"), "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%31s", text) != 1)
        text[0] = 0;
    fclose(file);
    return strcmp(text, fault) == 0;
}

/* Says that it hangs in the file of the fault with the suffix .hung. */
static void hang(const char *fault) {
    char place[4096];
    snprintf(place, sizeof place, "%s.hung", getenv("EDGESENTRY_TEST_TOKEN_FAULT"));
    while (is(fault)) {
        FILE *file = fopen(place, "w");
        if (file != NULL)
            fclose(file);
        usleep(10000);
    }
}

static unsigned long initialize(void *arguments) {
    hang("initialize");
    return softhsm->at[INITIALIZE](arguments);
}

static unsigned long login(unsigned long session, unsigned long user, unsigned char *pin, unsigned long size) {
    hang("login");
    return softhsm->at[LOGIN](session, user, pin, size);
}

static unsigned long sign(unsigned long session, unsigned char *data, unsigned long size, unsigned char *signature,
                          unsigned long *signature_size) {
    /* The session is lost, and a new one needs a login. */
    if (is("login"))
        return SESSION_HANDLE_INVALID;
    hang("sign");
    unsigned long result = softhsm->at[SIGN](session, data, size, signature, signature_size);
    if (result == 0 && signature != NULL && is("wrong"))
        signature[0] ^= 1;
    return result;
}

unsigned long C_GetFunctionList(struct list **list) {
    static struct list own;
    void *library = dlopen(getenv("EDGESENTRY_TEST_TOKEN_LIBRARY"), RTLD_NOW);
    unsigned long (*of_softhsm)(struct list **) = NULL;
    if (library != NULL)
        *(void **)&of_softhsm = dlsym(library, "C_GetFunctionList");
    if (of_softhsm == NULL || of_softhsm(&softhsm) != 0)
        return FUNCTION_FAILED;
    own = *softhsm;
    own.at[INITIALIZE] = (function)initialize;
    own.at[LOGIN] = (function)login;
    own.at[SIGN] = (function)sign;
    *list = &own;
    return 0;
}
