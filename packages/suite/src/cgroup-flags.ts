/** What makes any dockerd put its containers' cgroups below a path; where it would leave them to systemd, the parent had to be a slice. */
export function cgroupFlags(parent: string | undefined): string[] {
  return parent ? ["--cgroup-parent", parent, "--exec-opt", "native.cgroupdriver=cgroupfs"] : [];
}
