import { EngineError } from "@longshore/errors";
import { hostPlatform, type Platform } from "@longshore/oci";
import {
  familiarName,
  isDigest,
  parseReference,
  type Reference,
  withDefaultTag,
  withDigest,
  withTag,
} from "@longshore/reference";
import { containerConfigSchema } from "../containers/container-config.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import type { Handler, Route } from "../http/server.ts";
import { loadImages } from "../images/archive/load-images.ts";
import { saveImages } from "../images/archive/save-images.ts";
import { imageAttestations } from "../images/attestations.ts";
import { commitContainer } from "../images/commit-container.ts";
import { deleteImage } from "../images/delete-image.ts";
import { deletePlatforms } from "../images/delete-platforms.ts";
import { importImage } from "../images/import-image.ts";
import { openAddress } from "../images/import-source.ts";
import { imageHistory, inspectImage } from "../images/inspect-image.ts";
import { IMAGE_FILTERS, listImages } from "../images/list-images.ts";
import { PRUNE_FILTERS, pruneImages } from "../images/prune-images.ts";
import { pullAllTags, pullOne } from "../images/pull-all.ts";
import type { ProgressLine } from "../images/pull-progress.ts";
import { pushImages } from "../images/push.ts";
import { credentialsOf } from "../images/registry-service.ts";
import { tagImage } from "../images/tag-image.ts";
import { archivePlatforms, jsonPlatform, jsonPlatforms, platformParam } from "./platform-param.ts";

/** Operations on images. Names have slashes, so the last word of the path decides what is done. */
export function imageRoutes(engine: Engine): Route[] {
  return [
    {
      method: "GET",
      path: "/images/json",
      handler: async (call) => {
        const given = Filters.parse(call.query.get("filters"), IMAGE_FILTERS);
        // Before there were references among the filters, one had a parameter of its own.
        const reference = call.atLeast("1.41") ? "" : (call.query.get("filter") ?? "");
        const filters = reference === "" ? given : given.with("reference", reference);
        const sharedSize = call.atLeast("1.42") && call.flag("shared-size");
        const manifests = call.atLeast("1.47") && call.flag("manifests");
        const identity = call.atLeast("1.54") && call.flag("identity");
        if (identity && !manifests) {
          throw new EngineError("invalid_argument", "conflicting options: identity requires manifests=1");
        }
        call.json(200, await listImages(engine, filters, call, { sharedSize, manifests, identity }));
      },
    },
    {
      method: "GET",
      path: "/images/get",
      lists: ["names", "platform"],
      handler: async (call) => {
        await save(engine, call, call.query.getAll("names"));
      },
    },
    { method: "POST", path: "/images/load", lists: ["platform"], handler: (call) => load(engine, call) },
    {
      method: "POST",
      path: "/images/prune",
      since: "1.25",
      handler: async (call) => {
        const filters = Filters.parse(call.query.get("filters"), PRUNE_FILTERS);
        call.json(200, await engine.prunes.run("images", () => pruneImages(engine, filters)));
      },
    },
    { method: "POST", path: "/commit", lists: ["changes"], handler: (call) => commit(engine, call) },
    {
      method: "POST",
      path: "/images/create",
      lists: ["changes"],
      handler: (call) => createImage(engine, call),
    },
    {
      method: "GET",
      path: "/images/*",
      lists: ["platform", "type"],
      handler: byLastWord({
        json: (call, name) => inspect(engine, call, name),
        history: async (call, name) =>
          call.json(200, await imageHistory(engine, name, jsonPlatform(call, "1.48"))),
        get: (call, name) => save(engine, call, [name]),
        attestations: (call, name) => attestations(engine, call, name),
      }),
    },
    {
      method: "POST",
      path: "/images/*",
      handler: byLastWord({
        push: (call, name) => push(engine, call, name),
        tag: async (call, name) => {
          await tagImage(engine, name, call.query.get("repo") ?? "", call.query.get("tag") ?? "");
          call.empty(201);
        },
      }),
    },
    {
      method: "DELETE",
      path: "/images/*",
      lists: ["platforms"],
      handler: async (call) => {
        // `noprune` asks to leave parent images alone; here none has any.
        const name = call.param("*");
        if (name.trim() === "") throw new EngineError("invalid_argument", "image name cannot be blank");
        const force = call.flag("force");
        const platforms = jsonPlatforms(call, "1.50", "platforms");
        const deleted = await (platforms.length > 0
          ? deletePlatforms(engine, name, platforms, { force })
          : deleteImage(engine, name, { force }));
        call.json(200, deleted);
      },
    },
  ];
}

function byLastWord(actions: Record<string, (call: ApiCall, name: string) => Promise<void>>): Handler {
  return (call) => {
    const rest = call.param("*");
    const slash = rest.lastIndexOf("/");
    const word = rest.slice(slash + 1);
    const action = slash > 0 && Object.hasOwn(actions, word) ? actions[word] : undefined;
    if (!action) throw new EngineError("not_found", "page not found");
    return action(call, rest.slice(0, slash));
  };
}

async function inspect(engine: Engine, call: ApiCall, name: string): Promise<void> {
  const manifests = call.atLeast("1.48") && call.flag("manifests");
  const platform = jsonPlatform(call, "1.49");
  if (manifests && platform) {
    const message = "conflicting options: manifests and platform options cannot both be set";
    throw new EngineError("invalid_argument", message);
  }
  call.json(200, await inspectImage(engine, name, call, { platform, manifests }));
}

async function attestations(engine: Engine, call: ApiCall, name: string): Promise<void> {
  if (!call.atLeast("1.55")) {
    const message = "GET /images/{name:.*}/attestations requires minimum API version 1.55";
    throw new EngineError("invalid_argument", message);
  }
  if (call.query.getAll("platform").length > 1)
    throw new EngineError("invalid_argument", "only one platform value is currently supported");
  const types = call.query.getAll("type").map((type) => type.trim());
  const statements = await imageAttestations(engine, name, {
    platform: jsonPlatform(call, "1.55"),
    predicateTypes: types.filter((type) => type !== ""),
    withStatement: call.flag("statement"),
  });
  call.json(200, statements);
}

async function createImage(engine: Engine, call: ApiCall): Promise<void> {
  const from = call.query.get("fromImage") ?? "";
  const platform = platformParam(call);
  if (from === "") {
    await importFrom(engine, call, call.query.get("fromSrc") ?? "", platform);
    return;
  }
  const tag = call.query.get("tag") ?? "";
  const named = parseReference(from);
  if (familiarName(named) === "scratch")
    throw new EngineError("permission_denied", "'scratch' is a reserved name");
  const reference = tag === "" ? named : isDigest(tag) ? withDigest(named, tag) : withTag(named, tag);
  const isWhole = reference.tag === undefined && reference.digest === undefined;
  const credentials = credentialsOf(call.request.headers["x-registry-auth"]);
  await withProgress(call, async (send) => {
    const options = { platform, credentials, signal: call.signal, progress: send };
    // A name alone means all that is there by it, as Docker has it.
    if (isWhole) await pullAllTags(engine, { ...options, repository: reference });
    else await pullOne(engine, { ...options, reference });
  });
}

async function push(engine: Engine, call: ApiCall, name: string): Promise<void> {
  const platform = jsonPlatform(call, "1.46");
  const tag = call.query.get("tag") ?? "";
  const named = parseReference(name);
  const reference = tag === "" ? named : withTag(named, tag);
  if (reference.digest !== undefined)
    throw new EngineError("invalid_argument", "cannot push a digest reference");
  const credentials = credentialsOf(call.request.headers["x-registry-auth"]);
  await withProgress(call, (progress) =>
    pushImages(engine, { reference, platform, credentials, signal: call.signal, progress }),
  );
}

/**
 * Answer with lines of progress; an error after the first of them becomes the last line.
 *
 * @param always an error becomes a line also when it is the first
 */
async function withProgress(
  call: ApiCall,
  work: (send: (line: ProgressLine) => void) => Promise<void>,
  { always = false }: { always?: boolean } = {},
): Promise<void> {
  let output: ReturnType<ApiCall["stream"]> | undefined;
  const send = (line: ProgressLine) => {
    output ??= call.stream("application/json");
    if (!call.signal.aborted) output.write(`${JSON.stringify(line)}\r\n`);
  };
  try {
    await work(send);
    output ??= call.stream("application/json");
    output.end();
  } catch (error) {
    if (!output && !always) throw error;
    const message = error instanceof Error ? error.message : String(error);
    send({ errorDetail: { message }, error: message });
    output?.end();
  }
}

async function save(engine: Engine, call: ApiCall, names: readonly string[]): Promise<void> {
  const platforms = archivePlatforms(call);
  await call.send("application/x-tar", await saveImages(engine, names, platforms));
}

async function load(engine: Engine, call: ApiCall): Promise<void> {
  const platforms = archivePlatforms(call);
  const quiet = !call.query.has("quiet") || call.flag("quiet");
  await withProgress(
    call,
    (progress) => loadImages(engine, call.request, { platforms, quiet, signal: call.signal, progress }),
    { always: true },
  );
}

/** `docker import`: a file system in the request's body, or at an address. */
async function importFrom(
  engine: Engine,
  call: ApiCall,
  origin: string,
  platform: Platform = hostPlatform(),
): Promise<void> {
  if (origin === "") throw new EngineError("invalid_argument", "neither fromImage nor fromSrc is given");
  const reference = optionalReference(call.query.get("repo") ?? "", call.query.get("tag") ?? "");
  const changes = call.query.getAll("changes");
  await withProgress(call, async (send) => {
    const { url, stream } =
      origin === "-" ? { stream: call.request } : await openAddress(origin, call.signal);
    if (url) send({ status: `Downloading from ${url}` });
    const id = await importImage(engine, stream, {
      origin,
      reference,
      message: call.query.get("message") ?? "",
      platform,
      changes,
      signal: call.signal,
    });
    send({ status: id });
  });
}

const commitConfigSchema = containerConfigSchema.nullable();

async function commit(engine: Engine, call: ApiCall): Promise<void> {
  const given = await call.optionalBody(commitConfigSchema);
  const reference = optionalReference(call.query.get("repo") ?? "", call.query.get("tag") ?? "");
  const container = engine.containers.find(call.query.get("container") ?? "");
  const pause = call.query.get("pause");
  const id = await commitContainer(engine, container, {
    reference,
    author: call.query.get("author") ?? "",
    comment: call.query.get("comment") ?? "",
    changes: call.query.getAll("changes"),
    config: given ?? undefined,
    pause: pause === null || pause === "" || call.flag("pause"),
  });
  call.json(201, { Id: id });
}

/** A name to give, if one is asked for. */
function optionalReference(repo: string, tag: string): Reference | undefined {
  if (repo === "") return undefined; // as with Docker, a tag alone is none
  const named = parseReference(repo);
  if (named.digest !== undefined) {
    throw new EngineError("invalid_argument", "cannot import digest reference");
  }
  return withDefaultTag(tag === "" ? named : withTag(named, tag));
}
