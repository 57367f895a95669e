/** One way in which a registry lets clients prove who they are. */
export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case: `realm`, `service`, `scope`. */
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = /[\w!#$%&'*+.^`|~-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const SPACE = /[\s,]*/y;

/** Parse a `WWW-Authenticate` header; several of them may have been joined by commas. What is malformed ends the parse. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(SPACE);
    const word = take(TOKEN)?.[0];
    if (word === undefined) return challenges;
    if (header[at] !== "=") {
      challenges.push({ scheme: word.toLowerCase(), parameters: Object.create(null) });
      continue;
    }
    at += 1;
    const value = take(QUOTED)?.[1]?.replace(/\\(.)/g, "$1") ?? take(TOKEN)?.[0];
    const current = challenges.at(-1);
    if (value === undefined || !current) return challenges;
    current.parameters[word.toLowerCase()] = value;
  }
}
