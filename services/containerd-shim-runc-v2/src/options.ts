import { Options } from "@longshore/api/containerd/types/runc/options/oci";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError } from "@longshore/errors";

export const OPTIONS_TYPE = "containerd.runc.v1.Options";

/** @throws EngineError `invalid_argument` for options that are not runc's */
export function runcOptions(any: Any | undefined): Options {
  if (!any || any.typeUrl === "") return Options.fromPartial({});
  const type = any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
  if (type !== OPTIONS_TYPE) {
    throw new EngineError("invalid_argument", `runtime options of type ${type} are not runc's`);
  }
  return Options.decode(any.value);
}
