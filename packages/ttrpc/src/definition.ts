export type { MethodDefinition, RequestOf, ResponseOf, ServiceDefinition } from "@longshore/api/definition";
