/* The shim that a container runtime starts: it sends the call to the daemon and prints the answer.  Without
 * a daemon it sends the call to the warm engine that an earlier call left, else it executes the engine's
 * program beside it.  Where there is none, or the configuration has
 * "standalone": false, it keeps a DEL on disk until the daemon starts; other commands wait a bounded time,
 * then fail so that the runtime retries them.  multus/daemon/wire.py has the messages' layout;
 * multus/cni/shim.py is the same program. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x4d554c54   /* MULT */
#define LARGEST (8u << 20) /* bytes of a configuration or of an answer */
#define SERVE_S 220        /* timeout of a call in the daemon; this process waits 10 s longer */
#define CONTROL_S 5        /* timeout of a control request */
#define RELOAD_S 70        /* timeout of a reload, which loads every plugin again */
#define SILENT_S 1         /* a warm engine that has not read its message after so long is not waited for */
#define LEFT 255           /* the exit status in an answer that leaves the call to this process: it has not begun */
#define SPACE " \t\r\n"
#define VERSIONS "\"0.1.0\", \"0.2.0\", \"0.3.0\", \"0.3.1\", \"0.4.0\", \"1.0.0\", \"1.1.0\""
#define HELP "multus-shim: a container runtime starts it as the CNI plugin 'multus', with\n" \
    "CNI_COMMAND in the environment; it sends the call to the daemon.\n" \
    "Usage: multus-shim health|ready|metrics|workers|reload   (asks the daemon)\n" \
    "'multus help' lists the other commands.\n"

extern char **environ;
static char input[LARGEST + 2], *message; /* the configuration, with a NUL behind it */
static size_t input_length, message_length;
static volatile sig_atomic_t late;

static void out_of_time(int signal) { late = signal; }

/* Reads or writes exactly length bytes; -1 with errno: EPIPE when reading ends early, EAGAIN after the socket's timeout. */
static int transfer(int fd, void *data, size_t length, int out) {
    while (length) {
        ssize_t n = out ? write(fd, data, length) : read(fd, data, length);
        if (n < 0 && errno == EINTR && !late) continue;
        if (n == 0) errno = EPIPE;
        if (n <= 0) return -1;
        data = (char *)data + n, length -= n;
    }
    return 0;
}

/* The value of a top-level key of the configuration; of several, the last one. NULL: the key is missing. */
static char *value_of(const char *key) {
    char *found = NULL, *end = input + input_length;
    size_t length = strlen(key);
    int depth = 0;
    for (char *p = input; p < end; p++) {
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        if (*p != '"') continue;
        char *text = ++p;
        while (p < end && *p != '"') p += *p == '\\' ? 2 : 1;
        if (p >= end || depth != 1 || (size_t)(p - text) != length || memcmp(text, key, length)) continue;
        char *colon = p + 1 + strspn(p + 1, SPACE); /* the input ends in a NUL */
        if (*colon == ':') found = colon + 1 + strspn(colon + 1, SPACE);
    }
    return found;
}

static size_t span(const char *text, const char *others) { /* of alphanumerics and others */
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || (text[length] && strchr(others, text[length]))) length++;
    return length;
}

static const char *string_of(const char *key, const char *others, const char *fallback) {
    char *value = value_of(key);
    size_t length = value && *value == '"' ? span(++value, others) : 0;
    return length && length < 256 && value[length] == '"' ? strndup(value, length) : fallback;
}

static _Noreturn void fail(int code, const char *what, const char *details) {
    char text[2048];
    const char *format = "{\"cniVersion\": \"%s\", \"code\": %d, \"msg\": \"%s\", \"details\": \"%s\"}\n";
    int n = snprintf(text, sizeof text, format, string_of("cniVersion", ".", "1.1.0"), code, what, details);
    transfer(1, text, n, 1);
    exit(1);
}

static int is_known(const char *command) {
    const char *known[] = {"ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(command, known[i])) return 1;
    return 0;
}

static void compose(int kind) {
    size_t length = 0;
    for (char **each = environ; *each; each++) length += strlen(*each) + 1;
    uint32_t head[] = {MAGIC, 1 << 24 | kind << 16, length, input_length, SERVE_S * 1000};
    for (int i = 0; i < 5; i++) head[i] = htonl(head[i]);
    message_length = sizeof head + length + input_length;
    if (!(message = malloc(message_length))) fail(11, "no memory: try again", "");
    char *at = mempcpy(message, head, sizeof head);
    for (char **each = environ; *each; each++) at = stpcpy(at, *each) + 1;
    memcpy(at, input, input_length);
}

/* A decimal number of seconds, at most SERVE_S; 0 for any other text. */
static double seconds_of(const char *text) {
    char *end = "";
    double seconds = text[strspn(text, "0123456789.")] ? 0 : strtod(text, &end);
    return *end ? 0 : seconds > SERVE_S ? SERVE_S : seconds;
}

static double now(void) {
    struct timespec found;
    clock_gettime(CLOCK_MONOTONIC, &found);
    return found.tv_sec + found.tv_nsec / 1e9;
}

/* Connects to the daemon, retries for wait_s seconds; -1 with errno.  Gives up connecting and writing after limit_s, 0: never. */
static int dial(const char *path, double wait_s, int limit_s) {
    struct timeval limit = {limit_s, 0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
    strcpy(address.sun_path, path);
    for (;; wait_s -= 0.01) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && limit_s) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (fd < 0 || !connect(fd, (struct sockaddr *)&address, sizeof address)) return fd;
        int reason = errno;
        close(fd), errno = reason;
        if (wait_s <= 0 || late || (errno != ENOENT && errno != ECONNREFUSED && errno != EINTR)) return -1;
        usleep(10000);
    }
}

/* Whether the peer has read the whole message, or will find that this client has left: one of the two, whenever it
 * is stopped and continued.  A warm engine begins a call only after it has read the message and seen no end.
 * TIOCOUTQ is SIOCOUTQ of <linux/sockios.h>, a file that musl-gcc does not find. */
static int is_read(int fd) {
    int unread = 0;
    for (int i = 0; i < 2; i++) {
        if (!ioctl(fd, TIOCOUTQ, &unread) && !unread) return 1;
        shutdown(fd, SHUT_WR);
    }
    return 0;
}

/* Sends the message and prints the answer: the exit status, or -1 with errno.  EPIPE: the peer had read the message and
 * ended before it answered.  EAGAIN: it has not read the message within limit_s; 0: it may take as long as it wants. */
static int exchange(int fd, int limit_s) {
    struct pollfd peer = {.fd = fd, .events = POLLIN};
    uint32_t head[5];
    /* A daemon that refuses may answer before it has read everything: ignore a broken pipe. */
    int sent = !transfer(fd, message, message_length, 1);
    if (!sent && errno != EPIPE && errno != ECONNRESET) return -1;
    if (limit_s && !poll(&peer, 1, limit_s * 1000) && !is_read(fd)) return errno = EAGAIN, -1;
    if (transfer(fd, head, sizeof head, 0)) return errno = !sent && errno == EPIPE ? ECONNRESET : errno, -1;
    uint32_t size = ntohl(head[3]), kind = ntohl(head[1]);
    char *answer = head[0] != htonl(MAGIC) || kind >> 16 != 0x180 || size > LARGEST ? NULL : malloc(size + 1);
    errno = EPROTO;
    if (!answer || transfer(fd, answer, size, 0)) return -1;
    if ((kind & 0xff) == LEFT) return errno = ECONNRESET, -1;
    return transfer(1, answer, size, 1) ? 1 : (int)(kind & 0xff);
}

/* Keeps a DEL under cniDir until a daemon carries it out: 0 when it is fsynced. */
static int spool(const char *folder) {
    const char *id = getenv("CNI_CONTAINERID"), *ifname = getenv("CNI_IFNAME");
    char path[300], name[300], part[330];
    struct stat found;
    struct timespec now;
    if (!id || !isalnum((unsigned char)*id) || id[span(id, "_.-")] || strlen(id) > 200 || !ifname || !*ifname)
        fail(4, "CNI_CONTAINERID or CNI_IFNAME is missing or malformed", "");
    if (input[strspn(input, SPACE)] != '{') fail(6, "the network configuration on stdin is not a JSON object", "");
    snprintf(path, sizeof path, "%s/.spool/", folder);
    for (char *slash = path; (slash = strchr(slash + 1, '/')); *slash = '/') *slash = 0, mkdir(path, 0700);
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fstat(dir, &found)) return -1;
    if (found.st_uid != geteuid() || found.st_mode & 022) return errno = EPERM, -1;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, sizeof name, "%010lld%09ld.%s", (long long)now.tv_sec, now.tv_nsec, id);
    snprintf(part, sizeof part, ".%d.%s", (int)getpid(), name);
    int fd = openat(dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    if (!transfer(fd, message, message_length, 1) && !fsync(fd) && !renameat(dir, part, dir, name)) return fsync(dir);
    return unlinkat(dir, part, 0), -1; /* unlinkat keeps errno when it succeeds */
}

/* The engine's program in this shim's folder; NULL: there is none, and the node relies on its daemon. */
static const char *engine_beside(void) {
    static char path[600];
    struct stat mine, other;
    ssize_t n = readlink("/proc/self/exe", path, 500);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    for (int i = 0; slash && i < 2; i++) { /* an installed shim may itself be called multus */
        strcpy(slash + 1, i ? "multus" : "multus-standalone");
        if (stat("/proc/self/exe", &mine) || stat(path, &other) || mine.st_ino == other.st_ino) continue;
        if (S_ISREG(other.st_mode) && !access(path, X_OK)) return path;
    }
    return NULL;
}

static uint64_t mixed(uint64_t id, uint64_t value) { return (id ^ value) * 0x100000001b3; }

/* The socket of the program's warm engine, in the folder of the daemon's; NULL: there is none.  Its name stands for
 * all that an engine has from its first caller: program, user, namespaces, root, variables of the interpreter. */
static const char *warm_engine(const char *daemon, const char *program) {
    static char path[300];
    const char *value = value_of("warmSeconds"), *slash = strrchr(daemon, '/'), *letter;
    const char *places[] = {program, "/", "/proc/self/ns/mnt", "/proc/self/ns/net", "/proc/self/ns/pid", "/proc/self/ns/user"};
    struct stat found;
    uint64_t id = geteuid();
    if (!slash || (value && *value == '0')) return NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (stat(places[i], &found)) return NULL;
        id = mixed(mixed(id, found.st_dev), found.st_ino);
        if (!i) id = mixed(mixed(id, found.st_mtim.tv_sec), found.st_mtim.tv_nsec);
    }
    for (char **each = environ; *each; each++)
        if (!strncmp(*each, "PYTHON", 6) || !strncmp(*each, "LD_", 3))
            for (letter = *each; *letter; letter++) id = mixed(id, (unsigned char)*letter);
    snprintf(path, sizeof path, "%.*s/warm.%016llx", (int)(slash - daemon), daemon, (unsigned long long)id);
    return path;
}

/* Executes the engine's program, with the configuration on stdin again; returns when that fails. */
static void stand_alone(const char *program, char **arguments) {
    int copy = memfd_create("stdin", 0);
    if (copy < 0 || transfer(copy, input, input_length, 1) || lseek(copy, 0, SEEK_SET) || dup2(copy, 0)) return;
    setenv("MULTUS_STANDALONE", "1", 1), signal(SIGPIPE, SIG_DFL), alarm(0);
    execv(program, arguments);
}

int main(int count, char **arguments) {
    const char *given = getenv("MULTUS_SOCKET"), *wait = getenv("MULTUS_WAIT"), *command = getenv("CNI_COMMAND");
    const char *path = given ? given : "/run/multus/multus.sock";
    char version[16] = "1.1.0", away[600], why[200];
    int end = 0, delete = command && !strcmp(command, "DEL"), status = command && !strcmp(command, "STATUS");
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = out_of_time}, NULL), signal(SIGPIPE, SIG_IGN);
    if (fcntl(1, F_GETFD) < 0) return dprintf(2, "multus: standard output is closed: the runtime would not learn what an ADD did\n"), 1;
    if (!command && count == 2 && (!strcmp(arguments[1], "--help") || !strcmp(arguments[1], "-h")))
        return transfer(1, (char[]){HELP}, sizeof HELP - 1, 1) < 0;
    if (!command && count != 2) fail(4, "required env variables [CNI_COMMAND] missing", "");
    int seconds = command ? SERVE_S + 10 : strcmp(arguments[1], "reload") ? CONTROL_S : RELOAD_S;
    setitimer(ITIMER_REAL, &(struct itimerval){{1, 0}, {seconds, 0}}, NULL); /* repeats: a signal before read() is lost */
    /* Refused before stdin is read, which may never end. */
    if (command && !is_known(command))
        fail(4, "unknown CNI_COMMAND: use one of ADD, CHECK, DEL, GC, STATUS, VERSION", "");
    /* Without a command: health, ready, metrics, workers or reload. */
    input_length = command ? fread(input, 1, LARGEST + 1, stdin) : strlen(strncpy(input, arguments[1], 99));
    if (input_length > LARGEST) fail(6, "the network configuration on stdin is larger than 8 MiB", "");
    if (late) fail(11, "stdin, with the network configuration, did not end in time: try again", "");
    sscanf(input, " { \"cniVersion\" : \"%15[0-9.]\" } %n", version, &end); /* all that libcni sends */
    if (command && !strcmp(command, "VERSION") && end + strspn(input + end, SPACE) == input_length &&
        strlen(version) == 5 && strstr(VERSIONS, version))
        return printf("{\"cniVersion\": \"%s\", \"supportedVersions\": [" VERSIONS "]}\n", version) < 0;
    if (command && getenv("MULTUS_WITHIN") && strcmp(command, "VERSION")) {
        if (delete || !strcmp(command, "GC")) return 0;
        fail(7, "a network's plugin started Multus again: Multus would call itself: name the plugin that attaches the network", "");
    }
    compose(command ? 1 : 2);
    int fd = dial(path, 0, 0), answer = fd < 0 ? -1 : exchange(fd, 0);
    if (answer >= 0) return answer;
    int reason = errno; /* refused: a daemon restarts; one that stopped for good removed its socket */
    const char *program = engine_beside(), *standalone = value_of("standalone"), *warm = NULL;
    int alone = command && (standalone ? !strncmp(standalone + (*standalone == '"'), "true", 4) : program != NULL);
    double patience = seconds_of(wait ? wait : status ? "3" : "30");
    int left = fd >= 0 && reason == ECONNRESET; /* by a daemon that ends: the next one takes it */
    if (alone) patience = standalone || reason != ECONNREFUSED ? 0 : patience < 1 ? patience : 1;
    for (double until = now() + patience; alone ? fd < 0 && patience > 0 : (fd < 0 || left) && command && !delete;) {
        if (left) close(fd), usleep(100000);
        fd = dial(path, until - now(), 0), answer = fd < 0 ? -1 : exchange(fd, 0), reason = errno;
        if (answer >= 0) return answer;
        if (!(left = fd >= 0 && reason == ECONNRESET) || late || now() >= until) break;
    }
    int lost = fd >= 0 && reason == EPIPE, silent = 0;
    if (program && !late && !lost && (alone || !command) && (warm = warm_engine(path, program)) &&
        (fd = dial(warm, 0, SILENT_S), answer = fd < 0 ? -1 : exchange(fd, SILENT_S)) >= 0) return answer;
    if (warm) lost = fd >= 0 && errno == EPIPE, silent = errno == EAGAIN, close(fd); /* an engine may end at any time */
    if (alone && !late) {
        if (warm) setenv("MULTUS_WARM", warm, 1);
        if (lost || silent) setenv("MULTUS_UNANSWERED", lost ? "lost" : "silent", 1);
        if (program && !getenv("MULTUS_STANDALONE")) stand_alone(program, arguments);
        fail(100, "the multus program is not beside its shim: install it, or start the daemon", "");
    }
    if (delete && !late) {
        if (!spool(string_of("cniDir", "/_.-", "/var/lib/cni/multus"))) return 0;
        fail(11, "the multus daemon does not answer, and this DEL cannot be kept for it under 'cniDir': free some space there,"
                 " look at its owner and mode, or start the daemon", strerror(errno));
    }
    snprintf(away, sizeof away, "no daemon answers at %.200s: where 'multus daemon' serves the node, in its DaemonSet's pod or as"
             " multus.service: 'kubectl -n kube-system describe pods -l app.kubernetes.io/name=multus-python' or"
             " 'systemctl status multus' shows why it does not; a node without one runs each call by itself: 'multus status'", path[span(path, "/_.-")] ? "the socket of MULTUS_SOCKET" : path);
    snprintf(why, sizeof why, "%s%s", late ? "no answer in time" : strerror(reason), !command || program || standalone ? "" :
             "; the engine's program is not beside this shim: run 'multus install' again, or start the daemon");
    fail(status ? 50 : 11, away, why);
}
