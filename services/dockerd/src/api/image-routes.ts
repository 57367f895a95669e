import { Credentials } from "@longshore/api/longshore/registry/v1/registry";
import { EngineError } from "@longshore/errors";
import { parseReference, withDefaultTag, withDigest, withTag } from "@longshore/reference";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Handler, Route } from "../http/server.ts";
import { deleteImage } from "../images/delete-image.ts";
import { imageHistory, inspectImage } from "../images/inspect-image.ts";
import { IMAGE_FILTERS, listImages } from "../images/list-images.ts";
import type { ProgressLine } from "../images/pull-progress.ts";
import { tagImage } from "../images/tag-image.ts";

/** Operations on images. Names have slashes, so the last word of the path decides what is done. */
export function imageRoutes(engine: Engine): Route[] {
  return [
    {
      method: "GET",
      path: "/images/json",
      handler: async (call) => {
        const filters = Filters.parse(call.query.get("filters"), IMAGE_FILTERS);
        if (call.flag("shared-size")) {
          throw new EngineError("invalid_argument", "query parameter shared-size is not supported");
        }
        call.json(200, await listImages(engine, filters, call));
      },
    },
    { method: "POST", path: "/images/create", handler: (call) => createImage(engine, call) },
    {
      method: "GET",
      path: "/images/*",
      handler: byLastWord({
        json: async (call, name) => call.json(200, await inspectImage(engine, name, call)),
        history: async (call, name) => call.json(200, await imageHistory(engine, name)),
      }),
    },
    {
      method: "POST",
      path: "/images/*",
      handler: byLastWord({
        tag: async (call, name) => {
          await tagImage(engine, name, call.query.get("repo") ?? "", call.query.get("tag") ?? "");
          call.empty(201);
        },
      }),
    },
    {
      method: "DELETE",
      path: "/images/*",
      handler: async (call) => {
        if (call.flag("noprune"))
          throw new EngineError("invalid_argument", "query parameter noprune is not supported");
        call.json(200, await deleteImage(engine, decodeURIComponent(call.param("*")), call.flag("force")));
      },
    },
  ];
}

function byLastWord(actions: Record<string, (call: ApiCall, name: string) => Promise<void>>): Handler {
  return (call) => {
    const rest = decodeURIComponent(call.param("*"));
    const slash = rest.lastIndexOf("/");
    const word = rest.slice(slash + 1);
    const action = slash > 0 && Object.hasOwn(actions, word) ? actions[word] : undefined;
    if (!action) throw new EngineError("not_found", "page not found");
    return action(call, rest.slice(0, slash));
  };
}

async function createImage(engine: Engine, call: ApiCall): Promise<void> {
  const from = call.query.get("fromImage") ?? "";
  if (from === "" || call.query.get("fromSrc")) {
    throw new EngineError("unimplemented", "importing an image from a file system is not supported");
  }
  const platform = call.query.get("platform") ?? "";
  if (platform !== "" && !/^linux(\/amd64)?$/.test(platform)) {
    throw new EngineError("invalid_argument", `platform ${platform} is not supported`);
  }
  const tag = call.query.get("tag") ?? "";
  const named = parseReference(from);
  const reference = withDefaultTag(
    tag === "" ? named : tag.includes(":") ? withDigest(named, tag) : withTag(named, tag),
  );
  const credentials = parseAuth(call.request.headers["x-registry-auth"]);
  let output: ReturnType<ApiCall["stream"]> | undefined;
  const send = (line: ProgressLine) => {
    output ??= call.stream("application/json");
    if (!call.signal.aborted) output.write(`${JSON.stringify(line)}\r\n`);
  };
  try {
    await engine.pulls.pull({ reference, credentials, signal: call.signal, progress: send });
    engine.events.emit("image", "pull", `${from}:${tag || "latest"}`, { name: from });
    output?.end();
  } catch (error) {
    if (!output) throw error;
    const message = error instanceof Error ? error.message : String(error);
    send({ errorDetail: { message }, error: message });
    output.end();
  }
}

/** Credentials of the `X-Registry-Auth` header: base64url of JSON. */
function parseAuth(header: string | string[] | undefined): Credentials | undefined {
  if (typeof header !== "string" || header === "") return undefined;
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(Buffer.from(header, "base64url").toString()) as Record<string, unknown>;
  } catch {
    throw new EngineError("invalid_argument", "invalid X-Registry-Auth header: not base64url of JSON");
  }
  const text = (key: string) => (typeof value[key] === "string" ? value[key] : "");
  const credentials = Credentials.fromPartial({
    username: text("username"),
    password: text("password"),
    identityToken: text("identitytoken"),
    registryToken: text("registrytoken"),
  });
  const given = credentials.username + credentials.identityToken + credentials.registryToken;
  return given === "" ? undefined : credentials;
}
