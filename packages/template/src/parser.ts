import { isFunction } from "./functions.ts";
import { TemplateError } from "./template-error.ts";

export type Expression =
  | { readonly kind: "literal"; readonly value: string | number | boolean | null }
  | { readonly kind: "dot" }
  | { readonly kind: "variable"; readonly name: string }
  | { readonly kind: "field"; readonly of: Expression; readonly name: string }
  | {
      readonly kind: "call";
      readonly name: string;
      readonly args: readonly Expression[];
      /** Its last argument is what stands before a bar. */
      readonly isPiped?: boolean;
    }
  /** What a field has is called with what follows it. */
  | {
      readonly kind: "method";
      readonly of: Expression;
      readonly name: string;
      readonly args: readonly Expression[];
    };

interface Block {
  readonly condition: Expression;
  readonly variables: readonly string[];
  readonly body: readonly Node[];
  readonly otherwise: readonly Node[];
}

export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "action"; readonly expression: Expression; readonly variable?: string }
  | ({ readonly kind: "if" } & Block)
  | ({ readonly kind: "with" } & Block)
  | ({ readonly kind: "range" } & Block);

type Piece = { text: string } | { action: string };

/**
 * @param name the template's, for messages
 * @throws TemplateError for what is no Go template, or uses more of them than we know
 */
export function parseTemplate(template: string, name = ""): Node[] {
  try {
    const parser = new BlockParser(splitPieces(template));
    const { nodes, end } = parser.nodes();
    if (end !== undefined) throw problem(`unexpected {{${end}}}`);
    return nodes;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new TemplateError(`template: ${name}:1: ${error.message}`, { isSyntax: true });
  }
}

/** What is wrong with a template, without its name. */
class Problem extends Error {}

/** Text and actions in turn; `{{-` and `-}}` take the white space beside them away. */
function splitPieces(template: string): Piece[] {
  const pieces: Piece[] = [];
  let rest = template;
  let trimNext = false;
  for (;;) {
    const open = rest.indexOf("{{");
    let text = open < 0 ? rest : rest.slice(0, open);
    if (trimNext) text = text.trimStart();
    if (open < 0) {
      pieces.push({ text });
      return pieces;
    }
    const close = rest.indexOf("}}", open);
    if (close < 0) throw problem("unclosed action");
    let action = rest.slice(open + 2, close);
    if (/^-\s/.test(action)) {
      text = text.trimEnd();
      action = action.slice(1);
    }
    trimNext = /\s-$/.test(action);
    if (trimNext) action = action.slice(0, -1);
    pieces.push({ text });
    if (!/^\s*\/\*.*\*\/\s*$/s.test(action)) pieces.push({ action: action.trim() });
    rest = rest.slice(close + 2);
  }
}

class BlockParser {
  readonly #pieces: readonly Piece[];
  #at = 0;

  constructor(pieces: readonly Piece[]) {
    this.#pieces = pieces;
  }

  /** Nodes up to the end or an `else`/`end`, which is given as it stands. */
  nodes(): { nodes: Node[]; end: string | undefined } {
    const nodes: Node[] = [];
    for (;;) {
      const piece = this.#pieces[this.#at];
      this.#at += 1;
      if (piece === undefined) return { nodes, end: undefined };
      if ("text" in piece) {
        if (piece.text) nodes.push({ kind: "text", text: piece.text });
        continue;
      }
      const [, keyword, rest = ""] = /^(if|range|with|else|end)\b\s*(.*)$/s.exec(piece.action) ?? [];
      if (keyword === "else" || keyword === "end") return { nodes, end: piece.action };
      if (keyword === "if" || keyword === "range" || keyword === "with")
        nodes.push(this.#block(keyword, rest));
      else nodes.push(parseAction(piece.action));
    }
  }

  #block(kind: "if" | "range" | "with", head: string): Node {
    if (head.trim() === "") throw problem(`missing value for ${kind}`);
    const { variables, expression } = parseHead(head);
    const { nodes, end } = this.nodes();
    if (end === undefined) throw problem("unexpected EOF");
    if (end === "end") return { kind, condition: expression, variables, body: nodes, otherwise: [] };
    const [, nested] = /^else\s+if\s+(.*)$/s.exec(end) ?? [];
    if (nested !== undefined) {
      return { kind, condition: expression, variables, body: nodes, otherwise: [this.#block("if", nested)] };
    }
    const otherwise = this.nodes();
    if (otherwise.end !== "end") throw problem("unexpected EOF");
    return { kind, condition: expression, variables, body: nodes, otherwise: otherwise.nodes };
  }
}

function parseAction(text: string): Node {
  const { variables, expression } = parseHead(text);
  const [variable] = variables;
  return variable === undefined ? { kind: "action", expression } : { kind: "action", expression, variable };
}

/** `$i, $x := PIPELINE` or a pipeline alone. */
function parseHead(text: string): { variables: string[]; expression: Expression } {
  const [, names, assigned] = /^(\$\w+(?:\s*,\s*\$\w+)?)\s*:?=\s*(.*)$/s.exec(text) ?? [];
  const variables = names?.split(",").map((name) => name.trim()) ?? [];
  const tokens = new Tokens(assigned ?? text);
  const expression = parsePipeline(tokens);
  const left = tokens.peek();
  if (left !== undefined) throw problem(`unexpected ${JSON.stringify(left)} in command`);
  return { variables, expression };
}

const TOKEN = /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|-?\d+(?:\.\d+)?|\$?\w*(?:\.\w+)+|\$\w*|\.|\w+|[()|])/y;

class Tokens {
  readonly #tokens: string[] = [];

  constructor(text: string) {
    TOKEN.lastIndex = 0;
    let at = 0;
    while (text.slice(at).trim() !== "") {
      TOKEN.lastIndex = at;
      const match = TOKEN.exec(text);
      if (!match?.[1])
        throw problem(`unexpected ${JSON.stringify(text.slice(at).trim().charAt(0))} in operand`);
      this.#tokens.push(match[1]);
      at = TOKEN.lastIndex;
    }
  }

  peek(): string | undefined {
    return this.#tokens[0];
  }

  next(): string | undefined {
    return this.#tokens.shift();
  }
}

/** `a b | c d`: what comes before a bar is the last argument of what comes after it. */
function parsePipeline(tokens: Tokens): Expression {
  let value = parseCommand(tokens, undefined);
  while (tokens.peek() === "|") {
    tokens.next();
    value = parseCommand(tokens, value);
  }
  return value;
}

function parseCommand(tokens: Tokens, piped: Expression | undefined): Expression {
  const first = tokens.peek();
  if (first === undefined) throw problem("missing value for command");
  if (!/^[A-Za-z_]\w*$/.test(first) || ["true", "false", "nil"].includes(first)) {
    const operand = parseOperand(tokens);
    if (operand.kind !== "field") {
      if (piped) throw problem("non executable command in pipeline");
      return operand;
    }
    const args = parseArguments(tokens, piped);
    return args.length === 0 ? operand : { kind: "method", of: operand.of, name: operand.name, args };
  }
  tokens.next();
  return callOf(first, parseArguments(tokens, piped), piped !== undefined);
}

function parseArguments(tokens: Tokens, piped: Expression | undefined): Expression[] {
  const args: Expression[] = [];
  for (
    let token = tokens.peek();
    token !== undefined && token !== "|" && token !== ")";
    token = tokens.peek()
  ) {
    args.push(parseOperand(tokens));
  }
  if (piped) args.push(piped);
  return args;
}

function parseOperand(tokens: Tokens): Expression {
  const token = tokens.next() ?? "";
  if (token === "(") {
    const inner = parsePipeline(tokens);
    if (tokens.next() !== ")") throw problem("unclosed left paren");
    const after = tokens.peek();
    if (after === undefined || !/^\.\w/.test(after)) return inner;
    tokens.next();
    return fieldsOf(inner, after.slice(1).split("."));
  }
  if (token === ".") return { kind: "dot" };
  if (token.startsWith('"')) return { kind: "literal", value: unquote(token) };
  if (token.startsWith("`")) return { kind: "literal", value: token.slice(1, -1) };
  if (/^-?\d/.test(token)) return { kind: "literal", value: Number(token) };
  if (token.startsWith("$")) {
    const [name = "$", ...fields] = token.split(".");
    return fieldsOf({ kind: "variable", name }, fields);
  }
  if (token.startsWith(".")) return fieldsOf({ kind: "dot" }, token.slice(1).split("."));
  if (token === "true" || token === "false") return { kind: "literal", value: token === "true" };
  if (token === "nil") return { kind: "literal", value: null };
  if (/^\w+$/.test(token)) return callOf(token, [], false);
  throw problem(`unexpected ${JSON.stringify(token)} in operand`);
}

function callOf(name: string, args: Expression[], isPiped: boolean): Expression {
  if (!isFunction(name)) throw problem(`function ${JSON.stringify(name)} not defined`);
  return { kind: "call", name, args, isPiped };
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v", "\\": "\\", '"': '"' },
};

/** A Go string in double quotes; a tab may be in it as it is. */
function unquote(token: string): string {
  if (token.includes("\n")) throw problem("unterminated quoted string");
  const escaped = /\\(x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[0-7]{3}|.)/g;
  return token.slice(1, -1).replace(escaped, (_, written: string) => {
    const known = ESCAPES[written];
    if (known !== undefined) return known;
    const isHex = /^[xuU]/.test(written);
    const code =
      written.length < 3 ? Number.NaN : Number.parseInt(written.slice(isHex ? 1 : 0), isHex ? 16 : 8);
    if (code <= 0x10ffff) return String.fromCodePoint(code);
    throw problem("invalid syntax");
  });
}

function fieldsOf(base: Expression, names: readonly string[]): Expression {
  return names.reduce<Expression>((of, name) => ({ kind: "field", of, name }), base);
}

function problem(message: string): Problem {
  return new Problem(message);
}
