import { type Hand, PR_SET_DUMPABLE, PR_SET_PDEATHSIG } from "@longshore/syscalls";

/** Queue: root of the user namespace that the child is in, so that what it makes belongs to that. */
export function becomeMappedRoot(hand: Hand): void {
  hand.call("setresgid", [0, 0, 0], { about: "root's group of the user namespace" });
  hand.call("setresuid", [0, 0, 0], { about: "root of the user namespace" });
  // Fails where a namespace forbids it, which then has no groups to lose either.
  hand.call("setgroups", [0, 0], { skipOnError: 0 });
  // The kernel forgets both with a change of user.
  hand.call("prctl", [PR_SET_PDEATHSIG, 9]);
  hand.call("prctl", [PR_SET_DUMPABLE, 0, 0, 0, 0]);
}
