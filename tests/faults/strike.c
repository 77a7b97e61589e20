/*
 * strike: runs a command and lets one of its system calls on files fail.
 *
 *   strike [-n N] [-a ACTION] [-s] [-c CALL] -r FOLDER -o REPORT -- COMMAND...
 *
 * Counts the calls that change files below FOLDER: writes, syncs, renames, links, removals, new files and folders,
 * changes of length. With -c flock it counts locks. Call N does not happen; ACTION determines its result:
 *
 *   EIO, ENOSPC, ...  the error
 *   short             half of the bytes are written; only writes of two bytes and more are counted
 *   kill              the process is killed before the call
 *
 * With -s every later call fails like call N, as on a disk that stays full; without -c only calls that need space are
 * counted. With -c only calls whose names begin with CALL are counted. Without -n nothing fails. The report has the number of calls, and a line for each call that was struck: its number, name and path.
 *
 * The calls are caught by seccomp and ptrace, so it does not matter whether they come from the C library, from
 * Rust's rustix, or from a statically linked program.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* The way a call names its file. */
enum kind { WRITE, WRITE_VECTOR, DESCRIPTOR, PATH, PATH_AT, CREATE, CREATE_AT };

/* `at` is the argument with the descriptor, the path or the folder; for CREATE and CREATE_AT flags follow the path. */
static const struct call {
    long number;
    const char *name;
    enum kind kind;
    int at;
} CALLS[] = {
    {SYS_write, "write", WRITE, 0},
    {SYS_pwrite64, "pwrite", WRITE, 0},
    {SYS_writev, "writev", WRITE_VECTOR, 0},
    {SYS_pwritev, "pwritev", WRITE_VECTOR, 0},
    {SYS_pwritev2, "pwritev2", WRITE_VECTOR, 0},
    {SYS_sendfile, "sendfile", DESCRIPTOR, 0},
    {SYS_copy_file_range, "copy_file_range", DESCRIPTOR, 2},
    {SYS_fsync, "fsync", DESCRIPTOR, 0},
    {SYS_fdatasync, "fdatasync", DESCRIPTOR, 0},
    {SYS_sync_file_range, "sync_file_range", DESCRIPTOR, 0},
    {SYS_ftruncate, "ftruncate", DESCRIPTOR, 0},
    {SYS_fallocate, "fallocate", DESCRIPTOR, 0},
    {SYS_flock, "flock", DESCRIPTOR, 0},
    {SYS_renameat2, "renameat2", PATH_AT, 0},
    {SYS_linkat, "linkat", PATH_AT, 2},
    {SYS_unlinkat, "unlinkat", PATH_AT, 0},
    {SYS_mkdirat, "mkdirat", PATH_AT, 0},
    {SYS_openat, "openat", CREATE_AT, 0},
#ifdef SYS_renameat
    {SYS_renameat, "renameat", PATH_AT, 0},
#endif
#ifdef SYS_rename
    {SYS_rename, "rename", PATH, 0},
    {SYS_link, "link", PATH, 1},
    {SYS_unlink, "unlink", PATH, 0},
    {SYS_mkdir, "mkdir", PATH, 0},
    {SYS_rmdir, "rmdir", PATH, 0},
    {SYS_open, "open", CREATE, 0},
    {SYS_creat, "creat", PATH, 0},
#endif
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct { const char *name; int number; } ERRORS[] = {
    {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EACCES", EACCES}, {"EROFS", EROFS}, {"EMFILE", EMFILE},
    {"EPERM", EPERM}, {"ENOLCK", ENOLCK}, {"EOPNOTSUPP", EOPNOTSUPP},
};

static long strike_at;      /* 0: never */
static int error_number;    /* 0: short or kill */
static int is_short, is_kill, is_sticky;
static const char *only = "";
static char root[PATH_MAX];
static size_t root_length;
static FILE *report;
static long counted;
static pid_t child;

static void fail(const char *what) {
    fprintf(stderr, "strike: %s: %s\n", what, strerror(errno));
    exit(125);
}

/* The registers of a stopped thread, as the architecture keeps them. */
#if defined(__x86_64__)
typedef struct user_regs_struct registers;
static long number_of(const registers *r) { return (long)r->orig_rax; }
static unsigned long long *argument(registers *r, int at) {
    unsigned long long *all[] = {&r->rdi, &r->rsi, &r->rdx, &r->r10, &r->r8, &r->r9};
    return all[at];
}
static void answer(pid_t thread, registers *r, long value) {
    struct iovec all = {r, sizeof *r};
    r->orig_rax = (unsigned long long)-1;
    r->rax = (unsigned long long)value;
    ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &all);
}
#elif defined(__aarch64__)
typedef struct user_regs_struct registers;
static long number_of(const registers *r) { return (long)r->regs[8]; }
static unsigned long long *argument(registers *r, int at) { return (unsigned long long *)&r->regs[at]; }
static void answer(pid_t thread, registers *r, long value) {
    int none = -1;
    struct iovec all = {r, sizeof *r}, call = {&none, sizeof none};
    ptrace(PTRACE_SETREGSET, thread, NT_ARM_SYSTEM_CALL, &call);
    r->regs[0] = (unsigned long long)value;
    ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &all);
}
#else
#error "strike knows x86_64 and aarch64"
#endif

static void trace_calls(void) {
    struct sock_filter filter[COUNT(CALLS) + 3];
    size_t last = COUNT(CALLS) + 2, at = 0;
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t call = 0; call < COUNT(CALLS); call++, at++)
        filter[at] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (unsigned)CALLS[call].number, (unsigned char)(last - at - 1), 0);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    struct sock_fprog program = {(unsigned short)at, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) fail("seccomp");
}

/* The target of a link in /proc, or nothing. */
static int follow(pid_t thread, const char *name, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/%s", thread, name);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

static int path_of_descriptor(pid_t thread, int descriptor, char *path) {
    char name[32];
    snprintf(name, sizeof name, "fd/%d", descriptor);
    return follow(thread, name, path);
}

/* Reads the text at an address of the traced process. */
static int read_text(pid_t thread, unsigned long long address, char *text) {
    size_t length = 0;
    while (length < PATH_MAX - 1) {
        /* Not beyond the page: the next one may not be mapped. */
        size_t piece = 4096 - (address + length) % 4096;
        if (piece > PATH_MAX - 1 - length) piece = PATH_MAX - 1 - length;
        struct iovec to = {text + length, piece}, from = {(void *)(address + length), piece};
        ssize_t got = process_vm_readv(thread, &to, 1, &from, 1, 0);
        if (got <= 0) return 0;
        if (memchr(text + length, 0, (size_t)got)) return 1;
        length += (size_t)got;
    }
    return 0;
}

static int path_at(pid_t thread, int folder, unsigned long long address, char *path) {
    char name[PATH_MAX];
    if (!read_text(thread, address, name)) return 0;
    if (name[0] == '/') return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    char start[PATH_MAX];
    int found = folder == AT_FDCWD ? follow(thread, "cwd", start) : path_of_descriptor(thread, folder, start);
    return found && snprintf(path, PATH_MAX, "%s/%s", start, name) < PATH_MAX;
}

static int is_below_root(const char *path) {
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || path[root_length] == 0);
}

/* Returns true if a call changes a file below the root, and its path. */
static int concerns_us(pid_t thread, const struct call *call, registers *r, char *path) {
    unsigned long long *first = argument(r, call->at);
    switch (call->kind) {
    case WRITE:
    case WRITE_VECTOR:
        if (is_short && *argument(r, 2) < 2) return 0;
        /* fall through */
    case DESCRIPTOR:
        return (!is_short || call->kind != DESCRIPTOR) && path_of_descriptor(thread, (int)*first, path) &&
               is_below_root(path);
    case CREATE:
        if (!(*argument(r, call->at + 1) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))) return 0;
        /* fall through */
    case PATH:
        return !is_short && path_at(thread, AT_FDCWD, *first, path) && is_below_root(path);
    case CREATE_AT:
        if (!(*argument(r, call->at + 2) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))) return 0;
        /* fall through */
    case PATH_AT:
        return !is_short && path_at(thread, (int)*first, *argument(r, call->at + 1), path) && is_below_root(path);
    }
    return 0;
}

/* Returns true if a call may need space on the disk. Opening a file that exists needs none. */
static int needs_space(const struct call *call, const char *path) {
    if ((call->kind == CREATE || call->kind == CREATE_AT) && !access(path, F_OK)) return 0;
    switch (call->number) {
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_sync_file_range:
    case SYS_unlinkat:
#ifdef SYS_unlink
    case SYS_unlink:
    case SYS_rmdir:
#endif
        return 0;
    default: return 1;
    }
}

/* A thread is about to make one of the calls. */
static void look_at(pid_t thread) {
    registers r;
    struct iovec all = {&r, sizeof r};
    if (ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &all)) return;
    const struct call *call = NULL;
    for (size_t at = 0; at < COUNT(CALLS); at++)
        if (CALLS[at].number == number_of(&r)) call = &CALLS[at];
    char path[PATH_MAX];
    if (!call || strncmp(call->name, only, strlen(only)) || !concerns_us(thread, call, &r, path)) return;
    if (is_sticky && !*only && !needs_space(call, path)) return;
    if (call->number == SYS_flock && !*only) return;
    counted++;
    if (!strike_at || !(counted == strike_at || (is_sticky && counted > strike_at))) return;
    fprintf(report, "%ld %s %s\n", counted, call->name, path);
    if (is_kill) {
        kill(child, SIGKILL);
    } else if (is_short) {
        *argument(&r, 2) /= 2;
        ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &all);
    } else {
        answer(thread, &r, -error_number);
    }
}

static int known(pid_t thread) {
    static pid_t threads[4096];
    static size_t count;
    for (size_t at = 0; at < count; at++)
        if (threads[at] == thread) return 1;
    if (count == COUNT(threads)) { errno = EAGAIN; fail("more threads than expected"); }
    threads[count++] = thread;
    return 0;
}

static int watch(void) {
    int status, code = 125;
    pid_t thread;
    while ((thread = waitpid(-1, &status, __WALL)) > 0) {
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (thread == child) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_SECCOMP) look_at(thread);
        /* A new thread begins with a stop of its own. */
        int is_new = !known(thread) && signal == SIGSTOP;
        ptrace(PTRACE_CONT, thread, 0, event || is_new ? 0 : signal);
    }
    return code;
}

static void parse_action(const char *name) {
    is_short = !strcmp(name, "short");
    is_kill = !strcmp(name, "kill");
    for (size_t at = 0; at < COUNT(ERRORS); at++)
        if (!strcmp(name, ERRORS[at].name)) error_number = ERRORS[at].number;
    if (!is_short && !is_kill && !error_number) { errno = EINVAL; fail(name); }
}

int main(int count, char **arguments) {
    int option;
    error_number = 0;
    while ((option = getopt(count, arguments, "+n:a:sc:r:o:")) != -1) {
        switch (option) {
        case 'n': strike_at = atol(optarg); break;
        case 'a': parse_action(optarg); break;
        case 's': is_sticky = 1; break;
        case 'c': only = optarg; break;
        case 'r':
            if (!realpath(optarg, root)) fail(optarg);
            root_length = strlen(root);
            break;
        case 'o':
            if (!(report = fopen(optarg, "we"))) fail(optarg);
            break;
        default: return 125;
        }
    }
    if (!root_length || !report || optind >= count) { errno = EINVAL; fail("-r, -o and a command are needed"); }
    if (!(child = fork())) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0)) fail("ptrace");
        raise(SIGSTOP);
        trace_calls();
        execvp(arguments[optind], arguments + optind);
        fail(arguments[optind]);
    }
    int status;
    long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                   PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) fail("the command did not start");
    known(child);
    if (ptrace(PTRACE_SETOPTIONS, child, 0, options)) fail("ptrace options");
    ptrace(PTRACE_CONT, child, 0, 0);
    int code = watch();
    fprintf(report, "%ld calls\n", counted);
    return fclose(report) ? 125 : code;
}
