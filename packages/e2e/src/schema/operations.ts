import { madeId, refusal } from "./common.ts";
import * as containers from "./containers.ts";
import * as images from "./images.ts";
import * as networks from "./networks.ts";
import { list, type Shape } from "./shape.ts";
import * as system from "./system.ts";

/** What an operation answers with. */
export type Answer =
  | { readonly kind: "nothing" }
  | { readonly kind: "json"; readonly of: Shape }
  /** JSON objects one after the other; of `application/jsonl` from a version of requests on, where there is one. */
  | { readonly kind: "lines"; readonly of: Shape; readonly namedSince?: string }
  /** A refusal whose text may be all there is. */
  | { readonly kind: "text" }
  /** A connection that has become a websocket, whose messages hold bytes: as texts for clients before 1.28. */
  | { readonly kind: "websocket" }
  /** Bytes of such a media type: tar archives, text, frames of a process's output. */
  | { readonly kind: "bytes"; readonly type: RegExp };

const nothing: Answer = { kind: "nothing" };
const json = (of: Shape): Answer => ({ kind: "json", of });
const lines = (of: Shape): Answer => ({ kind: "lines", of });
const bytes = (type: RegExp): Answer => ({ kind: "bytes", type });
const refused = json(refusal);
/** By status; 400 and 500 are possible everywhere. */
type Answers = Readonly<Record<number, Answer>>;
const answers = (own: Answers, ...refusals: readonly number[]): Answers => ({
  400: refused,
  500: refused,
  ...Object.fromEntries(refusals.map((status) => [status, refused])),
  ...own,
});

const streamed = bytes(/^application\/vnd\.docker\.(raw|multiplexed)-stream$/);
/** An exec in the background has no output, and its answer no body. */
const streamedOrNothing = bytes(/^(application\/vnd\.docker\.(raw|multiplexed)-stream|)$/);
const tar = bytes(/^application\/(x-tar|octet-stream)$/);
const text = bytes(/^text\/plain/);

/** The operations of the API on containers, images, networks, volumes and the engine, by method and path, with all their answers. */
export const OPERATIONS: Readonly<Record<string, Answers>> = {
  "GET /containers/json": answers({ 200: json(list(containers.listedContainer)) }),
  "POST /containers/create": answers({ 201: json(containers.created) }, 404, 409),
  "GET /containers/{id}/json": answers({ 200: json(containers.container) }, 404),
  "GET /containers/{id}/top": answers({ 200: json(containers.top) }, 404, 409),
  "GET /containers/{id}/logs": answers({ 200: bytes(/^(application\/|$)/) }, 404),
  "GET /containers/{id}/changes": answers({ 200: json(containers.changes) }, 404),
  "GET /containers/{id}/export": answers({ 200: tar }, 404),
  "GET /containers/{id}/stats": answers({ 200: lines(containers.stats) }, 404),
  "POST /containers/{id}/resize": answers({ 200: nothing }, 404, 409),
  "POST /containers/{id}/start": answers({ 204: nothing, 304: nothing }, 404, 409),
  "POST /containers/{id}/stop": answers({ 204: nothing, 304: nothing }, 404),
  "POST /containers/{id}/restart": answers({ 204: nothing }, 404),
  "POST /containers/{id}/kill": answers({ 204: nothing }, 404, 409),
  "POST /containers/{id}/update": answers({ 200: json(containers.updated) }, 404, 409),
  "POST /containers/{id}/rename": answers({ 204: nothing }, 404, 409),
  "POST /containers/{id}/pause": answers({ 204: nothing }, 404, 409),
  "POST /containers/{id}/unpause": answers({ 204: nothing }, 404, 409),
  // Docker has taken the connection over by then, and writes no more than the message.
  "POST /containers/{id}/attach": answers({ 200: streamed, 404: { kind: "text" }, 409: { kind: "text" } }),
  "GET /containers/{id}/attach/ws": answers({ 101: { kind: "websocket" }, 400: { kind: "text" } }, 404),
  "POST /containers/{id}/wait": answers({ 200: json(containers.waited) }, 404),
  "DELETE /containers/{id}": answers({ 204: nothing }, 404, 409),
  "HEAD /containers/{id}/archive": answers({ 200: nothing, 400: nothing, 404: nothing }),
  "GET /containers/{id}/archive": answers({ 200: tar }, 404),
  "PUT /containers/{id}/archive": answers({ 200: nothing }, 403, 404),
  "POST /containers/prune": answers({ 200: json(containers.pruned) }),
  "POST /containers/{id}/exec": answers({ 201: json(madeId) }, 404, 409),
  "POST /exec/{id}/start": answers({ 200: streamedOrNothing }, 404, 409),
  "POST /exec/{id}/resize": answers({ 200: nothing }, 404, 409),
  "GET /exec/{id}/json": answers({ 200: json(containers.execConfig) }, 404),

  "GET /images/json": answers({ 200: json(list(images.listedImage)) }),
  "POST /images/create": answers({ 200: lines(images.progress) }, 404),
  "GET /images/{name}/json": answers({ 200: json(images.image) }, 404),
  "GET /images/{name}/history": answers({ 200: json(images.history) }, 404),
  "GET /images/{name}/attestations": answers({ 200: json(images.attestations) }, 404, 501),
  "POST /images/{name}/push": answers({ 200: lines(images.progress) }, 404),
  "POST /images/{name}/tag": answers({ 201: nothing }, 404, 409),
  "DELETE /images/{name}": answers({ 200: json(images.deleted) }, 404, 409),
  "GET /images/search": answers({ 200: json(images.searched) }),
  "POST /images/prune": answers({ 200: json(images.pruned) }),
  "POST /commit": answers({ 201: json(images.committed) }, 404),
  "GET /images/{name}/get": answers({ 200: tar }, 404),
  "GET /images/get": answers({ 200: tar }, 404),
  "POST /images/load": answers({ 200: lines(images.progress) }),
  "GET /distribution/{name}/json": answers({ 200: json(images.distribution) }, 401, 404),

  // 501 is ours, as long as it has no builder.
  "POST /build": answers({ 200: lines(images.progress) }, 501),
  "POST /build/cancel": answers({ 200: nothing }),
  // With the right upgrade they are a builder's connections.
  "POST /session": answers({ 101: nothing }, 501),
  "POST /grpc": answers({ 101: nothing }, 501),
  "POST /build/prune": answers({ 200: json(images.prunedBuildCache) }),

  "GET /networks": answers({ 200: json(list(networks.networkSummary)) }),
  "GET /networks/{id}": answers({ 200: json(networks.network) }, 404),
  "DELETE /networks/{id}": answers({ 204: nothing }, 403, 404),
  "POST /networks/create": answers({ 201: json(networks.madeNetwork) }, 403, 404, 409),
  "POST /networks/{id}/connect": answers({ 200: nothing }, 403, 404),
  "POST /networks/{id}/disconnect": answers({ 200: nothing }, 403, 404),
  "POST /networks/prune": answers({ 200: json(networks.prunedNetworks) }),

  "GET /volumes": answers({ 200: json(networks.volumes) }),
  "POST /volumes/create": answers({ 201: json(networks.volume) }, 409),
  "GET /volumes/{name}": answers({ 200: json(networks.volume) }, 404),
  "DELETE /volumes/{name}": answers({ 204: nothing }, 404, 409),
  "POST /volumes/prune": answers({ 200: json(networks.prunedVolumes) }),

  "GET /_ping": answers({ 200: text }),
  "HEAD /_ping": answers({ 200: nothing }),
  "GET /version": answers({ 200: json(system.version) }),
  "GET /info": answers({ 200: json(system.info) }),
  "POST /auth": answers({ 200: json(system.auth), 204: nothing }, 401),
  "GET /events": answers({ 200: { kind: "lines", of: system.event, namedSince: "1.52" } }),
  "GET /system/df": answers({ 200: json(system.diskUsage) }),

  // What is there without a swarm.
  "GET /plugins": answers({ 200: json(system.plugins) }),
  "GET /swarm": answers({}, 503),
  "GET /nodes": answers({}, 503),
  "GET /services": answers({}, 503),
  "GET /tasks": answers({}, 503),
  "GET /secrets": answers({}, 503),
  "GET /configs": answers({}, 503),
  "POST /swarm/leave": answers({}, 503),
};
