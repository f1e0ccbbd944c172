/* A QEMU plugin that counts the instructions of each translated block that the guest executes.
 *
 * QEMU loads it with `-plugin file=...,socket=PATH` and it connects to PATH. Each byte that it reads there is a request;
 * it answers with the number of records and then the records: a block's address and the instructions executed in it since
 * the request before, both of 64 bits in the machine's byte order. Blocks that were not executed are left out.
 *
 * QEMU's header is in no package that is needed otherwise, so the few declarations are repeated here. They are those of
 * plugin API 4 of QEMU 10.0; from API 7 (QEMU 11.0) the callback for a translation has other parameters.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_scoreboard;
typedef struct {
    struct qemu_plugin_scoreboard *score;
    size_t offset;
} counter;
enum { ADD_U64 = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size);
extern void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *, int operation, counter,
                                                              uint64_t immediate);
extern uint64_t qemu_plugin_u64_sum(counter);

EXPORT int qemu_plugin_version = 4;

/* Counters come by the thousand: a scoreboard of its own for each would make QEMU look at all of them again and again. */
enum { CHUNK = 4096 };

struct block {
    uint64_t address;
    uint64_t reported;
    counter counter;
};

struct chunk {
    struct chunk *next;
    struct qemu_plugin_scoreboard *score;
    size_t used;
    struct block blocks[CHUNK];
};

static struct chunk *chunks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static counter add_block(uint64_t address) {
    pthread_mutex_lock(&lock);
    if (!chunks || chunks->used == CHUNK) {
        struct chunk *chunk = calloc(1, sizeof *chunk);
        if (!chunk) die("card plugin: memory");
        chunk->score = qemu_plugin_scoreboard_new(CHUNK * sizeof(uint64_t));
        chunk->next = chunks;
        chunks = chunk;
    }
    counter counter = {chunks->score, chunks->used * sizeof(uint64_t)};
    struct block *block = &chunks->blocks[chunks->used++];
    block->address = address;
    block->counter = counter;
    pthread_mutex_unlock(&lock);
    return counter;
}

/* The guest is about to execute a block for the first time. */
static void on_translation(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    counter counter = add_block(qemu_plugin_tb_vaddr(block));
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block, ADD_U64, counter, qemu_plugin_tb_n_insns(block));
}

static void put(int peer, const void *data, size_t length) {
    for (const char *at = data; length > 0;) {
        ssize_t done = write(peer, at, length);
        if (done <= 0) die("card plugin: write");
        at += done;
        length -= (size_t)done;
    }
}

static void report(int peer) {
    pthread_mutex_lock(&lock);
    size_t most = 0;
    for (struct chunk *chunk = chunks; chunk; chunk = chunk->next) most += chunk->used;
    uint64_t *records = malloc((1 + 2 * most) * sizeof *records), count = 0;
    if (!records) die("card plugin: memory");
    for (struct chunk *chunk = chunks; chunk; chunk = chunk->next) {
        for (size_t place = 0; place < chunk->used; place++) {
            struct block *block = &chunk->blocks[place];
            uint64_t total = qemu_plugin_u64_sum(block->counter);
            if (total == block->reported) continue;
            records[1 + 2 * count] = block->address;
            records[2 + 2 * count] = total - block->reported;
            block->reported = total;
            count++;
        }
    }
    pthread_mutex_unlock(&lock);
    records[0] = count;
    put(peer, records, (1 + 2 * count) * sizeof *records);
    free(records);
}

static void *serve(void *argument) {
    int peer = (int)(intptr_t)argument;
    char request;
    while (read(peer, &request, 1) == 1) report(peer);
    return NULL;
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
    static const char option[] = "socket=";
    (void)info;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (count != 1 || strncmp(arguments[0], option, sizeof option - 1) ||
        strlen(arguments[0] + sizeof option - 1) >= sizeof address.sun_path) {
        fprintf(stderr, "card plugin: exactly one argument, socket=PATH\n");
        return 1;
    }
    strcpy(address.sun_path, arguments[0] + sizeof option - 1);
    int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer < 0 || connect(peer, (struct sockaddr *)&address, sizeof address)) die("card plugin: connect");
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)peer)) die("card plugin: thread");
    return 0;
}
