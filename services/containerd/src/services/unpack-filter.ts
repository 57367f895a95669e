import { fixedBuffer } from "@longshore/syscalls";

/**
 * What the engine and the unpacking of a layer need, by x86-64's numbers: memory, threads, waiting, files named by a descriptor, and
 * messages on sockets that are there already. Not among them: sockets, programs, mounts, namespaces, modules, tracing, bpf, io_uring, keys,
 * signals to other processes, open_by_handle_at.
 */
const ALLOWED: Readonly<Record<string, number>> = {
  read: 0,
  write: 1,
  open: 2,
  close: 3,
  stat: 4,
  fstat: 5,
  lstat: 6,
  poll: 7,
  lseek: 8,
  mmap: 9,
  mprotect: 10,
  munmap: 11,
  brk: 12,
  rt_sigaction: 13,
  rt_sigprocmask: 14,
  rt_sigreturn: 15,
  pread64: 17,
  pwrite64: 18,
  readv: 19,
  writev: 20,
  access: 21,
  select: 23,
  sched_yield: 24,
  mremap: 25,
  mincore: 27,
  madvise: 28,
  dup: 32,
  dup2: 33,
  nanosleep: 35,
  getpid: 39,
  sendfile: 40,
  recvfrom: 45,
  sendto: 44,
  recvmsg: 47,
  shutdown: 48,
  getsockname: 51,
  getsockopt: 55,
  exit: 60,
  uname: 63,
  fcntl: 72,
  fsync: 74,
  fdatasync: 75,
  ftruncate: 77,
  getdents: 78,
  getcwd: 79,
  readlink: 89,
  fchmod: 91,
  fchown: 93,
  umask: 95,
  gettimeofday: 96,
  getrusage: 98,
  sysinfo: 99,
  getuid: 102,
  getgid: 104,
  geteuid: 107,
  getegid: 108,
  getppid: 110,
  sigaltstack: 131,
  statfs: 137,
  fstatfs: 138,
  gettid: 186,
  setxattr: 188,
  lsetxattr: 189,
  fsetxattr: 190,
  getxattr: 191,
  lgetxattr: 192,
  fgetxattr: 193,
  listxattr: 194,
  llistxattr: 195,
  flistxattr: 196,
  removexattr: 197,
  lremovexattr: 198,
  fremovexattr: 199,
  futex: 202,
  sched_getaffinity: 204,
  epoll_create: 213,
  getdents64: 217,
  restart_syscall: 219,
  fadvise64: 221,
  clock_gettime: 228,
  clock_getres: 229,
  clock_nanosleep: 230,
  exit_group: 231,
  epoll_wait: 232,
  epoll_ctl: 233,
  openat: 257,
  mkdirat: 258,
  mknodat: 259,
  fchownat: 260,
  newfstatat: 262,
  unlinkat: 263,
  renameat: 264,
  linkat: 265,
  symlinkat: 266,
  readlinkat: 267,
  fchmodat: 268,
  faccessat: 269,
  pselect6: 270,
  ppoll: 271,
  set_robust_list: 273,
  get_robust_list: 274,
  utimensat: 280,
  epoll_pwait: 281,
  timerfd_create: 283,
  fallocate: 285,
  timerfd_settime: 286,
  timerfd_gettime: 287,
  eventfd2: 290,
  epoll_create1: 291,
  dup3: 292,
  pipe2: 293,
  preadv: 295,
  pwritev: 296,
  syncfs: 306,
  renameat2: 316,
  getrandom: 318,
  membarrier: 324,
  copy_file_range: 326,
  preadv2: 327,
  pwritev2: 328,
  statx: 332,
  rseq: 334,
  close_range: 436,
  openat2: 437,
  faccessat2: 439,
  epoll_pwait2: 441,
  fchmodat2: 452,
};

const IOCTL = 16;
const CLONE = 56;
const PRCTL = 157;
const TGKILL = 234;
const PRLIMIT64 = 302;
const CLONE3 = 435;

/** TCGETS, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what a runtime asks of descriptors that it is given. */
const IOCTLS = [0x5401, 0x541b, 0x5421, 0x5450, 0x5451];
/** PR_SET_NAME, PR_GET_NAME and PR_SET_VMA (names of mappings). */
const PRCTLS = [15, 16, 0x53564d41];
/** CLONE_NEW*: threads and nothing else. */
const NEW_NAMESPACES = 0x7e020080;
const CLONE_THREAD = 0x10000;

const AUDIT_ARCH_X86_64 = 0xc000003e;
const X32_BIT = 0x40000000;

const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

const ALLOW = 0x7fff0000;
const KILL_PROCESS = 0x80000000;
const refuse = (errno: number) => 0x00050000 | errno;
const EPERM = 1;
const ENOSYS = 38;

/** Offsets in `struct seccomp_data`. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const argument = (index: number) => 16 + 8 * index;

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/**
 * A seccomp program that allows what an unpacking process needs and refuses all else with EPERM. clone3, whose flags no filter can see,
 * is refused with ENOSYS, upon which libc makes its threads by clone.
 *
 * @param pid of the process: signals go to its own threads only
 */
export function unpackFilter(pid: number): Buffer {
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64],
    [RETURN, 0, 0, KILL_PROCESS],
    [LOAD, 0, 0, NUMBER],
    [JUMP_AT_LEAST, 0, 1, X32_BIT],
    [RETURN, 0, 0, KILL_PROCESS],
  ];
  for (const number of Object.values(ALLOWED)) {
    program.push([JUMP_EQUAL, 0, 1, number], [RETURN, 0, 0, ALLOW]);
  }
  const oneOf = (number: number, index: number, values: readonly number[]) => {
    const checks = values.map(
      (value, at) => [JUMP_EQUAL, values.length - at, 0, value] as const satisfies Instruction,
    );
    program.push([JUMP_EQUAL, 0, checks.length + 3, number], [LOAD, 0, 0, argument(index)], ...checks);
    program.push([RETURN, 0, 0, refuse(EPERM)], [RETURN, 0, 0, ALLOW]);
  };
  oneOf(IOCTL, 1, IOCTLS);
  oneOf(PRCTL, 0, PRCTLS);
  oneOf(TGKILL, 0, [pid]);
  oneOf(PRLIMIT64, 0, [0]);
  program.push(
    [JUMP_EQUAL, 0, 5, CLONE],
    [LOAD, 0, 0, argument(0)],
    [JUMP_ANY_BIT, 2, 0, NEW_NAMESPACES],
    [JUMP_ANY_BIT, 0, 1, CLONE_THREAD],
    [RETURN, 0, 0, ALLOW],
    [RETURN, 0, 0, refuse(EPERM)],
    [JUMP_EQUAL, 0, 1, CLONE3],
    [RETURN, 0, 0, refuse(ENOSYS)],
    [RETURN, 0, 0, refuse(EPERM)],
  );
  return assemble(program);
}

/** The program as the kernel's `struct sock_filter` array. */
function assemble(program: readonly Instruction[]): Buffer {
  const bytes = fixedBuffer(8 * program.length);
  for (const [index, [code, ifTrue, ifFalse, operand]] of program.entries()) {
    bytes.writeUInt16LE(code, 8 * index);
    bytes[8 * index + 2] = ifTrue;
    bytes[8 * index + 3] = ifFalse;
    bytes.writeUInt32LE(operand, 8 * index + 4);
  }
  return bytes;
}
