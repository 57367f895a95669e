import crypto from "node:crypto";
import { EngineError } from "@longshore/errors";

const NAME = /^\/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/**
 * A container's name without its slash.
 * @throws EngineError `invalid_argument`, in Docker's words
 */
export function checkName(given: string): string {
  if (!NAME.test(given)) {
    throw new EngineError(
      "invalid_argument",
      `Invalid container name (${given}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  return given.replace(/^\//, "");
}

/** A new container, exec or sandbox id: 64 hex digits whose first 12 are not all decimal. */
export function newId(): string {
  for (;;) {
    const id = crypto.randomBytes(32).toString("hex");
    // A purely decimal host name would be read as an address.
    if (!/^[0-9]{12}/.test(id)) return id;
  }
}

const MOODS = (
  "able agile amber ample ardent balmy bold brave breezy bright brisk calm candid cheery civil clever cosy crisp daring " +
  "deft dewy eager early earnest easy elated fair fleet fond frank fresh gentle giddy glad golden grand happy hardy hearty " +
  "humble jolly keen kind lively loyal lucid mellow merry mild modest neat nimble noble patient placid plucky polite proud quick " +
  "quiet ready serene sharp silent sleek smooth snug sober steady sturdy subtle sunny swift tender tidy tranquil upbeat " +
  "vivid warm wise witty zesty"
).split(" ");
const SHIPS = (
  "barge bark beacon bilge binnacle boom bosun bow breeze brig buoy cable caravel catamaran clipper coaster compass coracle corvette " +
  "cutter davit deck derrick dhow dinghy dock dory ferry fathom felucca flagship frigate galleon galley gangway gunwale halyard harbor " +
  "hawser helm hull jetty jib junk kayak keel ketch knot lagoon lantern launch lighter lugger mainsail mast mooring packet " +
  "pilot pinnace pontoon prow punt quay rigger rudder sampan schooner scow sextant skiff sloop spar stern tender tiller trawler trimaran " +
  "tug wharf wherry windlass xebec yacht yawl"
).split(" ");

/** A name for a container that was given none: `calm_schooner`, with a digit after some failed tries. */
export function randomName(attempt: number): string {
  const pick = (words: readonly string[]) => words[crypto.randomInt(words.length)];
  return `${pick(MOODS)}_${pick(SHIPS)}${attempt > 0 ? crypto.randomInt(10) : ""}`;
}
