/* Answers CPUID with features left out, for libraries whose CPUID instructions were replaced by UD2 (overlay.py).
 *
 *     gcc -shared -fPIC -O2 -o cpuid.so cpuid.c
 *     NEXUS_EDGE_CPU=avx2 LD_PRELOAD=./cpuid.so python ...
 *
 * UD2 is as long as CPUID and raises SIGILL. What is left out is left out everywhere at once: a library that asks
 * runs what it would run on a CPU without it, at full speed. What this CPU lacks cannot be added.
 *
 * NEXUS_EDGE_CPU: avx2 (no AVX-512, no VNNI, no AMX), avx512 (no VNNI, no bfloat16, no AMX), vnni (no bfloat16, no
 * AMX), bf16 (no AMX). Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID, leaf 7.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define BIT(n) (1u << (n))

typedef struct {
    uint32_t ebx, ecx, edx; /* of leaf 7, subleaf 0 */
    uint32_t eax1, edx1;    /* of leaf 7, subleaf 1 */
} features;

static const features AMX = {0, 0, BIT(22) | BIT(24) | BIT(25), BIT(21), BIT(8)};
static const features BF16 = {0, 0, BIT(23), BIT(5), 0}; /* AVX512_BF16, and AVX512_FP16 that came after it */
static const features VNNI = {0, BIT(11), 0, BIT(4) | BIT(23), BIT(4) | BIT(5) | BIT(10)};
static const features AVX512 = {
    BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31),
    BIT(1) | BIT(6) | BIT(12) | BIT(14), BIT(2) | BIT(3) | BIT(8), 0, BIT(19) /* AVX10 */};

static features out; /* what is left out */

static void leave_out(features these) {
    out.ebx |= these.ebx, out.ecx |= these.ecx, out.edx |= these.edx;
    out.eax1 |= these.eax1, out.edx1 |= these.edx1;
}

static void answer(int signal_number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)registers[REG_RIP];
    if (at[0] != 0x0F || at[1] != 0x0B) { /* another instruction that this CPU does not have */
        signal(signal_number, SIG_DFL);
        return;
    }
    uint32_t leaf = (uint32_t)registers[REG_RAX], sub = (uint32_t)registers[REG_RCX], a, b, c, d;
    __cpuid_count(leaf, sub, a, b, c, d);
    if (leaf == 7 && sub == 0) b &= ~out.ebx, c &= ~out.ecx, d &= ~out.edx;
    if (leaf == 7 && sub == 1) a &= ~out.eax1, d &= ~out.edx1;
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
    (void)info;
}

typedef int set_action(int, const struct sigaction *, struct sigaction *);

/* Others that want SIGILL, such as Python's faulthandler, get everything but that. */
int sigaction(int signal_number, const struct sigaction *new, struct sigaction *old) {
    static set_action *real;
    if (real == NULL) real = (set_action *)dlsym(RTLD_NEXT, "sigaction");
    return real(signal_number, signal_number == SIGILL && new != NULL && new->sa_sigaction != answer ? NULL : new, old);
}

__attribute__((constructor)) static void listen(void) {
    const char *name = getenv("NEXUS_EDGE_CPU");
    static const char *const NAMES[] = {"avx2", "avx512", "vnni", "bf16"};
    static const features *const FIRST_OUT[] = {&AVX512, &VNNI, &BF16, &AMX};
    size_t index = 0;
    while (index < 4 && (name == NULL || strcmp(name, NAMES[index]) != 0)) index++;
    if (index == 4) {
        static const char WRONG[] = "cpuid.so: NEXUS_EDGE_CPU must be avx2, avx512, vnni or bf16\n";
        if (write(2, WRONG, sizeof WRONG - 1) < 0) _exit(2);
        _exit(2);
    }
    for (; index < 4; index++) leave_out(*FIRST_OUT[index]);
    struct sigaction action = {0};
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO | SA_NODEFER; /* on its own stack: an alternate one may be too small for AVX-512 */
    sigaction(SIGILL, &action, NULL);
}
