import { callFunction, isTrue, printValue } from "./functions.ts";
import { GoMap, GoStruct, type GoType, goValue } from "./go-value.ts";
import { type Expression, type Node, parseTemplate } from "./parser.ts";
import { TemplateError } from "./template-error.ts";

/**
 * Render a Go template, as `--format` takes them: fields, variables, pipelines, `if`, `range`, `with`, comparisons and the functions
 * of Docker (`json`, `join`, `upper` …). Functions in the data are methods.
 * @throws TemplateError for a template that can't be parsed or a field that is not there
 */
export function renderTemplate(template: string, data: unknown): string {
  const nodes = parseTemplate(template);
  const scope: Scope = { template, root: data, variables: [new Map([["$", data]])] };
  return renderAll(nodes, data, scope);
}

/**
 * Render a Go template with what Go has made of JSON, or with the JSON itself where the template asks for what Go's type has not: as docker
 * inspect does.
 *
 * @throws TemplateError for a template that can't be parsed or a field that neither has
 */
export function renderDecoded(template: string, json: unknown, type: GoType): string {
  try {
    return renderTemplate(template, goValue(json, type));
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return renderTemplate(template, json);
  }
}

/** @throws TemplateError with `isSyntax` when it is no template */
export function checkTemplate(template: string): void {
  parseTemplate(template);
}

interface Scope {
  template: string;
  root: unknown;
  variables: Map<string, unknown>[];
}

function renderAll(nodes: readonly Node[], dot: unknown, scope: Scope): string {
  return nodes.map((node) => renderNode(node, dot, scope)).join("");
}

function renderNode(node: Node, dot: unknown, scope: Scope): string {
  switch (node.kind) {
    case "text":
      return node.text;
    case "action": {
      const value = evaluate(node.expression, dot, scope);
      if (node.variable === undefined) return printValue(value);
      assign(scope, node.variable, value);
      return "";
    }
    case "if": {
      const holds = isTrue(evaluate(node.condition, dot, scope));
      return inScope(scope, () => renderAll(holds ? node.body : node.otherwise, dot, scope));
    }
    case "with": {
      const value = evaluate(node.condition, dot, scope);
      return inScope(scope, () => {
        if (!isTrue(value)) return renderAll(node.otherwise, dot, scope);
        if (node.variables[0] !== undefined) assign(scope, node.variables[0], value);
        return renderAll(node.body, value, scope);
      });
    }
    case "range":
      return renderRange(node, dot, scope);
  }
}

function renderRange(node: Extract<Node, { kind: "range" }>, dot: unknown, scope: Scope): string {
  const over = evaluate(node.condition, dot, scope);
  if (over instanceof GoStruct) throw new TemplateError("template: range can't iterate over a struct");
  const entries = entriesOf(over);
  if (entries.length === 0) return inScope(scope, () => renderAll(node.otherwise, dot, scope));
  const [first, second] = node.variables;
  const rendered = entries.map(([key, value]) =>
    inScope(scope, () => {
      if (second !== undefined && first !== undefined) {
        assign(scope, first, key);
        assign(scope, second, value);
      } else if (first !== undefined) {
        assign(scope, first, value);
      }
      return renderAll(node.body, value, scope);
    }),
  );
  return rendered.join("");
}

function entriesOf(value: unknown): [unknown, unknown][] {
  if (Array.isArray(value)) return value.map((item, i) => [i, item]);
  if (typeof value !== "object" || value === null) return [];
  // Go ranges over maps in the order of their keys.
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
}

function inScope(scope: Scope, render: () => string): string {
  scope.variables.push(new Map());
  try {
    return render();
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
      if (!frame)
        throw new TemplateError(
          `template parsing error: undefined variable ${JSON.stringify(expression.name)}`,
        );
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
      return callFunction(
        name,
        args.map((argument) => evaluate(argument, dot, scope)),
      );
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
  const problem =
    typeof value === "object"
      ? `map has no entry for key ${JSON.stringify(name)}`
      : `can't evaluate field ${name}`;
  throw failure(problem, place);
}

function failure(problem: string, { template, whole }: Place): TemplateError {
  const chain = sourceOf(whole);
  // Go has the place of a chain's second part.
  const second = chain.indexOf(".", 1);
  const at = Math.max(template.indexOf(chain), 0) + Math.max(second, 0);
  return new TemplateError(`template: :1:${at}: executing "" at <${chain}>: ${problem}`);
}

/** `.State.Pid`, `$x.Name`. */
function sourceOf(expression: Expression): string {
  if (expression.kind === "variable") return expression.name;
  if (expression.kind !== "field" && expression.kind !== "method") return "";
  return `${sourceOf(expression.of)}.${expression.name}`;
}
