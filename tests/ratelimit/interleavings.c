/* Processes that take turns at every step of table.h, in an order that a seed chooses.
 *
 * Three of them ask for a few keys in a table of four slots and give back what they got, so that slots become free and
 * are taken again all the time, for the same key and for others. After every step no key may live twice; no key may
 * have more holders than its limit; and nobody may be refused unless there were as many who held, asked or gave back.
 *
 * Usage: interleavings (hold|die|evict) FIRST_SEED SEEDS. Prints "right", or what was wrong and its seed.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static void step(void);
#define FN_STEP() step()
#define FN_WAYS 2

#include "fastnet_ext/ratelimit/table.h"

#define PROCESSES 3
#define OPERATIONS 6
#define STACK (64 * 1024)
#define MOST_STEPS 200000
#define PERIOD ((uint64_t)1 << 34)

enum { HOLD, DIE, EVICT };
enum { IDLE, ASKS, HOLDS, GIVES };

typedef struct {
    ucontext_t context;
    char stack[STACK];
    int ended, dead, doing, key;
    int rivals;             /* how many at once held, asked for or gave back what this one asks for */
} process;

static process all[PROCESSES];
static ucontext_t scheduler;
static int current, mode, keys, most;
static uint64_t seed, random_state, now;
static fn_table table;
static fn_rule rule;
static _Alignas(64) char memory[sizeof(fn_table_head) + 2 * sizeof(fn_set)];

static uint64_t chance(uint64_t of) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state * 0x2545f4914f6cdd1du >> 33) % of;
}

static void wrong(const char *what) {
    printf("seed %llu: %s\n", (unsigned long long)seed, what);
    exit(1);
}

/* Keys that share both sets. */
static uint64_t hash_of(int key) { return (uint64_t)(key + 1) << 40 | (uint64_t)1 << 32; }

static void step(void) {
    if (current >= 0) swapcontext(&all[current].context, &scheduler);
}

static void work(void) {
    process *self = &all[current];
    fn_decision d;
    int i;
    for (i = 0; i < OPERATIONS; i++) {
        self->key = (int)chance((uint64_t)keys);
        self->rivals = 0;
        self->doing = ASKS;
        fn_table_hit(&table, &rule, hash_of(self->key), now, 1, &d);
        if (d.verdict != FN_ADMIT) {
            if (mode == HOLD && self->rivals < most) wrong("refused below the limit");
            self->doing = IDLE;
            continue;
        }
        self->doing = HOLDS;
        step();
        if (mode == EVICT) continue;
        self->doing = GIVES;
        fn_table_give_back(&table, &rule, hash_of(self->key), now, 1);
        self->doing = IDLE;
    }
    self->ended = 1;
    swapcontext(&self->context, &scheduler);
}

static void check(void) {
    const fn_slot *slots = (const fn_slot *)table.sets;
    int i, j, held[8] = {0}, busy[8] = {0};
    for (i = 0; i < FN_PLACES; i++)
        for (j = 0; j < i; j++)
            if (slots[i].tag == slots[j].tag && slots[i].state && slots[j].state &&
                !((slots[i].state | slots[j].state) & FN_CLAIM))
                wrong("a key lives twice");
    for (i = 0; i < PROCESSES; i++) {
        held[all[i].key] += all[i].doing == HOLDS;
        busy[all[i].key] += all[i].doing != IDLE;
    }
    for (i = 0; mode != EVICT && i < keys; i++)
        if (held[i] > most) wrong("more hold a key than its limit");
    for (i = 0; i < PROCESSES; i++)
        if (all[i].doing == ASKS && busy[all[i].key] - 1 > all[i].rivals) all[i].rivals = busy[all[i].key] - 1;
    if (mode == HOLD && (table.head->evicted || table.head->full)) wrong("a key found no place");
}

static void begin(void) {
    int i;
    memset(memory, 0, sizeof memory);
    table.head = (fn_table_head *)memory;
    table.sets = (fn_set *)(memory + sizeof(fn_table_head));
    table.mask = 1;
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    now = PERIOD;
    most = 1 + (int)chance(2);
    keys = mode == EVICT ? 6 : 1 + (int)chance(3);
    rule = (fn_rule){FN_FIXED, (uint64_t)most, 0, PERIOD};
    for (i = 0; i < PROCESSES; i++) {
        all[i].ended = all[i].dead = all[i].key = 0;
        all[i].doing = IDLE;
        getcontext(&all[i].context);
        all[i].context.uc_stack.ss_sp = all[i].stack;
        all[i].context.uc_stack.ss_size = STACK;
        all[i].context.uc_link = NULL;
        makecontext(&all[i].context, work, 0);
    }
}

/* Later, when what the dead left has expired, all four slots are there for new keys. */
static void nothing_is_stuck(void) {
    fn_decision d;
    int key;
    now += 2 * PERIOD;
    table.head->full = table.head->evicted = 0;
    for (key = 10; key < 10 + FN_PLACES; key++)
        while (fn_table_hit(&table, &rule, hash_of(key), now, 1, &d), d.verdict == FN_ADMIT) {}
    if (table.head->full || table.head->evicted) wrong("a slot is stuck");
}

static void run(void) {
    uint64_t switches, steps;
    int next = 0, i;
    begin();
    /* How long one process goes on at a time: from a step to a whole operation and more. */
    switches = (uint64_t)1 << chance(8);
    for (steps = 0;; steps++) {
        int left = 0;
        for (i = 0; i < PROCESSES; i++) left += !all[i].ended && !all[i].dead;
        if (!left) break;
        if (steps == MOST_STEPS) wrong("no end");
        if (all[next].ended || all[next].dead || !chance(switches))
            do next = (int)chance(PROCESSES);
            while (all[next].ended || all[next].dead);
        current = next;
        swapcontext(&scheduler, &all[next].context);
        current = -1;
        check();
        if (mode == DIE && left > 1 && !chance(300)) all[next].dead = 1;
        if (mode == EVICT && !chance(100)) now += PERIOD / 2;
    }
    for (i = 0; mode == HOLD && i < FN_PLACES; i++)
        if (((fn_slot *)table.sets)[i].state) wrong("something is left of what was given back");
    nothing_is_stuck();
}

int main(int count, char **arguments) {
    uint64_t first, seeds;
    if (count != 4) return 2;
    mode = !strcmp(arguments[1], "hold") ? HOLD : !strcmp(arguments[1], "die") ? DIE : EVICT;
    first = strtoull(arguments[2], NULL, 10);
    seeds = strtoull(arguments[3], NULL, 10);
    current = -1;
    for (seed = first; seed < first + seeds; seed++) run();
    printf("right\n");
    return 0;
}
