/**
 * Errors of Linux by number: name, and the words that Go's `syscall.Errno` (and with it Docker and runc) prints.
 * Source: `include/uapi/asm-generic/errno*.h`, `strerror`.
 */
// As text: a table of objects costs each process 30 kB, and most never look into it.
const TABLE = `
1 EPERM operation not permitted
2 ENOENT no such file or directory
3 ESRCH no such process
4 EINTR interrupted system call
5 EIO input/output error
6 ENXIO no such device or address
7 E2BIG argument list too long
8 ENOEXEC exec format error
9 EBADF bad file descriptor
10 ECHILD no child processes
11 EAGAIN resource temporarily unavailable
12 ENOMEM cannot allocate memory
13 EACCES permission denied
14 EFAULT bad address
15 ENOTBLK block device required
16 EBUSY device or resource busy
17 EEXIST file exists
18 EXDEV invalid cross-device link
19 ENODEV no such device
20 ENOTDIR not a directory
21 EISDIR is a directory
22 EINVAL invalid argument
23 ENFILE too many open files in system
24 EMFILE too many open files
25 ENOTTY inappropriate ioctl for device
26 ETXTBSY text file busy
27 EFBIG file too large
28 ENOSPC no space left on device
29 ESPIPE illegal seek
30 EROFS read-only file system
31 EMLINK too many links
32 EPIPE broken pipe
33 EDOM numerical argument out of domain
34 ERANGE numerical result out of range
35 EDEADLK resource deadlock avoided
36 ENAMETOOLONG file name too long
38 ENOSYS function not implemented
39 ENOTEMPTY directory not empty
40 ELOOP too many levels of symbolic links
54 EXFULL exchange full
61 ENODATA no data available
62 ETIME timer expired
71 EPROTO protocol error
74 EBADMSG bad message
75 EOVERFLOW value too large for defined data type
87 EUSERS too many users
88 ENOTSOCK socket operation on non-socket
89 EDESTADDRREQ destination address required
90 EMSGSIZE message too long
91 EPROTOTYPE protocol wrong type for socket
92 ENOPROTOOPT protocol not available
93 EPROTONOSUPPORT protocol not supported
94 ESOCKTNOSUPPORT socket type not supported
95 EOPNOTSUPP operation not supported
97 EAFNOSUPPORT address family not supported by protocol
98 EADDRINUSE address already in use
99 EADDRNOTAVAIL cannot assign requested address
100 ENETDOWN network is down
101 ENETUNREACH network is unreachable
103 ECONNABORTED software caused connection abort
104 ECONNRESET connection reset by peer
105 ENOBUFS no buffer space available
106 EISCONN transport endpoint is already connected
107 ENOTCONN transport endpoint is not connected
110 ETIMEDOUT connection timed out
111 ECONNREFUSED connection refused
113 EHOSTUNREACH no route to host
114 EALREADY operation already in progress
115 EINPROGRESS operation now in progress
116 ESTALE stale file handle
122 EDQUOT disk quota exceeded
125 ECANCELED operation canceled
126 ENOKEY required key not available
127 EKEYEXPIRED key has expired
128 EKEYREVOKED key has been revoked
129 EKEYREJECTED key was rejected by service
`;

/** A line of the table: number, name, words. */
function line(errno: number): [name: string, text: string] | undefined {
  const start = TABLE.indexOf(`\n${errno} `);
  if (start < 0) return undefined;
  const [, name = "", ...words] = TABLE.slice(start + 1, TABLE.indexOf("\n", start + 1)).split(" ");
  return [name, words.join(" ")];
}

/** `ENOENT` for 2; `E<number>` for one that the table doesn't know. */
export function errnoName(errno: number): string {
  return line(errno)?.[0] ?? `E${errno}`;
}

/** Number of a name such as `ENOENT`, or undefined. */
export function errnoNumber(name: string): number | undefined {
  const number = new RegExp(`^(\\d+) ${name} `, "m").exec(TABLE)?.[1];
  return number === undefined ? undefined : Number(number);
}

/** `no such file or directory` for 2, in the words of the original engines. */
export function errnoText(errno: number): string {
  return line(errno)?.[1] ?? `errno ${errno}`;
}
