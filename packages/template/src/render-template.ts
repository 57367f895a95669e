import { callFunction, isTrue, printValue } from "./functions.ts";
import { GoMap, GoStruct, GoText, type GoType, goValue, rowType, typeOf } from "./go-value.ts";
import { type Expression, type Node, parseTemplate } from "./parser.ts";
import { TemplateError } from "./template-error.ts";

/**
 * Render a Go template, as `--format` takes them: fields, variables, pipelines, `if`, `range`, `with`, comparisons and the functions
 * of Docker (`json`, `join`, `upper` …). Functions in the data are methods.
 * @param name the template's, for messages
 * @throws TemplateError for a template that can't be parsed or a field that is not there; with what was rendered before it
 */
export function renderTemplate(template: string, data: unknown, name = ""): string {
  const nodes = parseTemplate(template, name);
  const output: string[] = [];
  try {
    renderAll(nodes, data, { template, name, output, variables: [new Map([["$", data]])] });
    return output.join("");
  } catch (error) {
    if (error instanceof TemplateError) error.output = output.join("");
    throw error;
  }
}

/**
 * Render a Go template with what Go makes of JSON.
 *
 * @param name the template's, for messages
 * @throws TemplateError for a template that can't be parsed or a field that the type has not
 */
export function renderTyped(template: string, json: unknown, type: GoType, name = ""): string {
  return renderTemplate(template, goValue(json, type), name);
}

/**
 * Render a Go template with what Go has made of JSON, or with the JSON itself where the template asks for what Go's type has not: as docker
 * inspect does.
 *
 * @throws TemplateError for a template that can't be parsed or a field that neither has
 */
export function renderDecoded(template: string, json: unknown, type: GoType): string {
  try {
    return renderTyped(template, json, type);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return renderTemplate(template, json);
  }
}

/** @throws TemplateError with `isSyntax` when it is no template */
export function checkTemplate(template: string, name = ""): void {
  parseTemplate(template, name);
}

interface Scope {
  template: string;
  name: string;
  output: string[];
  variables: Map<string, unknown>[];
}

function renderAll(nodes: readonly Node[], dot: unknown, scope: Scope): void {
  for (const node of nodes) renderNode(node, dot, scope);
}

function renderNode(node: Node, dot: unknown, scope: Scope): void {
  switch (node.kind) {
    case "text":
      scope.output.push(node.text);
      return;
    case "action": {
      const value = evaluate(node.expression, dot, scope);
      if (node.variable === undefined) scope.output.push(printValue(value));
      else assign(scope, node.variable, value);
      return;
    }
    case "if": {
      const holds = isTrue(evaluate(node.condition, dot, scope));
      inScope(scope, () => renderAll(holds ? node.body : node.otherwise, dot, scope));
      return;
    }
    case "with": {
      const value = evaluate(node.condition, dot, scope);
      inScope(scope, () => {
        if (!isTrue(value)) return renderAll(node.otherwise, dot, scope);
        if (node.variables[0] !== undefined) assign(scope, node.variables[0], value);
        renderAll(node.body, value, scope);
      });
      return;
    }
    case "range":
      renderRange(node, dot, scope);
  }
}

function renderRange(node: Extract<Node, { kind: "range" }>, dot: unknown, scope: Scope): void {
  const over = evaluate(node.condition, dot, scope);
  const entries = entriesOf(over);
  if (!entries)
    throw failure(`range can't iterate over ${printValue(over)}`, { ...scope, whole: node.condition });
  if (entries.length === 0) inScope(scope, () => renderAll(node.otherwise, dot, scope));
  const [first, second] = node.variables;
  for (const [key, value] of entries) {
    inScope(scope, () => {
      if (second !== undefined && first !== undefined) {
        assign(scope, first, key);
        assign(scope, second, value);
      } else if (first !== undefined) {
        assign(scope, first, value);
      }
      renderAll(node.body, value, scope);
    });
  }
}

/** Undefined for what can't be gone through. */
function entriesOf(value: unknown): [unknown, unknown][] | undefined {
  if (Array.isArray(value)) return value.map((item, i) => [i, item]);
  if (typeof value === "number") return Array.from({ length: value }, (_, i) => [i, i]);
  if (value === null || value === undefined) return [];
  if (typeof value !== "object" || value instanceof GoStruct || value instanceof GoText) return undefined;
  // Go ranges over maps in the order of their keys.
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
}

function inScope(scope: Scope, render: () => void): void {
  scope.variables.push(new Map());
  try {
    render();
  } finally {
    scope.variables.pop();
  }
}

function assign(scope: Scope, name: string, value: unknown): void {
  scope.variables.at(-1)?.set(name, value);
}

/** @param whole the chain of fields that the expression is a part of */
function evaluate(expression: Expression, dot: unknown, scope: Scope, whole = expression): unknown {
  switch (expression.kind) {
    case "literal":
      return expression.value;
    case "dot":
      return dot;
    case "variable": {
      const frame = scope.variables.findLast((variables) => variables.has(expression.name));
      if (!frame) {
        const problem = `undefined variable ${JSON.stringify(expression.name)}`;
        throw new TemplateError(`template: ${scope.name}:1: ${problem}`, { isSyntax: true });
      }
      return frame.get(expression.name);
    }
    case "field": {
      const value = field(evaluate(expression.of, dot, scope, whole), expression.name, { ...scope, whole });
      return typeof value === "function" ? (value() as unknown) : value;
    }
    case "method": {
      const { name, args } = expression;
      const method = field(evaluate(expression.of, dot, scope, whole), name, { ...scope, whole });
      if (typeof method !== "function")
        throw failure(`${name} is not a method but has arguments`, { ...scope, whole });
      return method(...args.map((argument) => evaluate(argument, dot, scope))) as unknown;
    }
    case "call": {
      const { name, args } = expression;
      if (name === "and" || name === "or") return shortCircuit(name, args, dot, scope);
      const values = args.map((argument) => evaluate(argument, dot, scope));
      try {
        return callFunction(name, values);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        throw failure(`error calling ${name}: ${error.message}`, { ...scope, whole: expression });
      }
    }
  }
}

function shortCircuit(name: "and" | "or", args: readonly Expression[], dot: unknown, scope: Scope): unknown {
  let value: unknown;
  for (const argument of args) {
    value = evaluate(argument, dot, scope);
    if (isTrue(value) === (name === "or")) return value;
  }
  return value;
}

interface Place extends Scope {
  /** The chain of fields in which something fails. */
  whole: Expression;
}

function field(value: unknown, name: string, place: Place): unknown {
  if (value === null || value === undefined) return undefined;
  const isFound = !(value instanceof GoMap && value.isNamed) && typeof value === "object";
  if (isFound && Object.hasOwn(value, name)) return (value as Record<string, unknown>)[name];
  if (value instanceof GoMap && isFound) return undefined;
  throw failure(missing(value, name), place);
}

function missing(value: unknown, name: string): string {
  if (value instanceof GoText && value.isNil && value.hasField(name))
    return `nil pointer evaluating ${typeOf(value)}.${name}`;
  const isMap = typeof value === "object" && !isGo(value);
  return isMap
    ? `map has no entry for key ${JSON.stringify(name)}`
    : `can't evaluate field ${name} in type ${typeOf(value)}`;
}

function isGo(value: unknown): boolean {
  const isTyped = value instanceof GoStruct || value instanceof GoText || value instanceof GoMap;
  return isTyped || Array.isArray(value) || rowType(value) !== undefined;
}

function failure(problem: string, { template, name, whole }: Place): TemplateError {
  const source = sourceOf(whole);
  const found = template.indexOf(source);
  // Of a chain Go has the place of its second part.
  const second = whole.kind === "field" || whole.kind === "method" ? source.indexOf(".", 1) : 0;
  const at =
    (found < 0 && whole.kind === "call" ? template.indexOf(whole.name) : found) + Math.max(second, 0);
  const before = template.slice(0, Math.max(at, 0)).split("\n");
  const place = `${before.length}:${before.at(-1)?.length ?? 0}`;
  return new TemplateError(
    `template: ${name}:${place}: executing ${JSON.stringify(name)} at <${source}>: ${problem}`,
  );
}

/** `.State.Pid`, `$x.Name`, `index .List 1`: as Go writes an expression. */
function sourceOf(expression: Expression): string {
  switch (expression.kind) {
    case "literal":
      return JSON.stringify(expression.value);
    case "dot":
      return ".";
    case "variable":
      return expression.name;
    case "field":
    case "method": {
      const { of } = expression;
      return `${of.kind === "dot" ? "" : sourceOf(of)}.${expression.name}`;
    }
    case "call": {
      const args = expression.isPiped ? expression.args.slice(0, -1) : expression.args;
      const sources = args.map((one) => (one.kind === "call" ? `(${sourceOf(one)})` : sourceOf(one)));
      return [expression.name, ...sources].join(" ");
    }
  }
}
