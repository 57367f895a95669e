export type { ForwarderOptions } from "./forwarder.ts";
export { RESOLVER_ADDRESS, redirection, removeRedirection } from "./redirection.ts";
export { type Answer, Resolver, type Transport, type Zone } from "./resolver.ts";
export { DnsServer, type ServerOptions } from "./server.ts";
