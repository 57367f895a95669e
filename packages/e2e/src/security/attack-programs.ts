/**
 * Programs that a hostile container runs, as arguments of `docker run` or `docker exec`. They need the image of
 * `attacker-image.ts` and no module of perl.
 */

/**
 * Exchange two paths with each other as fast as possible, for ever (renameat2 with RENAME_EXCHANGE).
 * A reader that resolves one of the paths twice gets different files.
 */
export function exchangeLoop(first: string, second: string): string[] {
  // 316: renameat2 on x86-64. -100: AT_FDCWD. 2: RENAME_EXCHANGE.
  return [
    "perl",
    "-e",
    `my ($a, $b) = @ARGV;
     syscall(316, -100, $a, -100, $b, 2) == 0 or die "renameat2: $!\\n";
     while (1) { syscall(316, -100, $a, -100, $b, 2) }`,
    first,
    second,
  ];
}

/** What {@link procWatcher} has seen of one process, by the path below `/proc/<pid>`. */
export interface SeenProcess {
  /** The process's number in the container, with its start time in clock ticks. */
  process: string;
  /** Targets of links, by name: `fd/3`, `root`, `exe`, `cwd`. */
  links: Record<string, string>;
  /** Files that could be opened for reading: `environ`, `maps`. */
  readable: string[];
}

/**
 * Look at every process that appears in the container, as fast as possible, until `/tmp/stop` exists; then print one line for
 * each thing that was seen: `<pid> <start time> <name> <target>`. A first file `/tmp/watching` says that it has begun.
 */
export function procWatcher(): string[] {
  return [
    "perl",
    "-e",
    `my %seen; my $self = $$; my $n = 0;
     sub note { my $line = join(" ", @_); $seen{$line} = 1 }
     open(my $f, ">", "/tmp/watching"); close($f);
     while ($n++ % 64 || !-e "/tmp/stop") {
       opendir(my $proc, "/proc") or die "proc: $!";
       my @pids = grep { /^[0-9]+$/ && $_ != $self && $_ != 1 } readdir($proc);
       closedir($proc);
       for my $pid (@pids) {
         my $start = "?";
         if (open(my $stat, "<", "/proc/$pid/stat")) {
           my $text = <$stat>; $text =~ s/^.*\\) //; $start = (split(/ /, $text))[19];
         }
         for my $name ("root", "exe", "cwd") {
           my $to = readlink("/proc/$pid/$name"); note($pid, $start, $name, $to) if defined $to;
         }
         for my $name ("environ", "maps") {
           note($pid, $start, $name, "readable") if open(my $in, "<", "/proc/$pid/$name") and sysread($in, my $byte, 1);
         }
         if (opendir(my $fds, "/proc/$pid/fd")) {
           for my $fd (grep { /^[0-9]+$/ } readdir($fds)) {
             my $to = readlink("/proc/$pid/fd/$fd"); note($pid, $start, "fd/$fd", $to) if defined $to;
           }
         }
       }
     }
     print "$_\\n" for sort keys %seen;`,
  ];
}

/**
 * Listen on a port of 127.0.0.1 and answer as a NATS server that accepts everybody. Print
 * `listening`, a line `connection` for each client, and all that clients send.
 */
export function natsImpostor(port: number): string[] {
  return [
    "perl",
    "-e",
    `$| = 1; $SIG{CHLD} = "IGNORE";
     socket(my $listener, 2, 1, 6) or die "socket: $!\\n";
     setsockopt($listener, 1, 2, pack("l", 1));
     bind($listener, pack("S n C4 x8", 2, $ARGV[0], 127, 0, 0, 1)) or die "bind: $!\\n";
     listen($listener, 64) or die "listen: $!\\n";
     print "listening\\n";
     while (accept(my $client, $listener)) {
       next if fork;
       my $info = '{"server_id":"X","version":"2.9.10","max_payload":1048576,"headers":true,"jetstream":true}';
       syswrite($client, "INFO $info\\r\\nPONG\\r\\n");
       print "connection\\n";
       while (sysread($client, my $bytes, 65536)) { print $bytes }
       exit;
     }`,
    String(port),
  ];
}

/** Parse what {@link procWatcher} has printed. */
export function parseWatched(output: string): SeenProcess[] {
  const processes = new Map<string, SeenProcess>();
  for (const line of output.split("\n").filter((text) => text !== "")) {
    const [pid = "", start = "", name = "", ...target] = line.split(" ");
    const process = `${pid}@${start}`;
    const seen = processes.get(process) ?? { process, links: {}, readable: [] };
    if (name === "environ" || name === "maps") seen.readable.push(name);
    else seen.links[name] = target.join(" ");
    processes.set(process, seen);
  }
  return [...processes.values()];
}
