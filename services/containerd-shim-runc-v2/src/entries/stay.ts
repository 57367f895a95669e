import { variables } from "../environment.ts";
import { startOnly } from "../load.ts";
import { runServer } from "../run-server.ts";
import { stay } from "../stay.ts";

const asked = variables();
// By our containerd. grpc-js can't take over a socket that listens already.
if (asked.get("LONGSHORE_SHIM_STAY") === "1" && asked.get("LONGSHORE_SHIM_PROTOCOL") !== "grpc")
  runServer(stay);
else startOnly();
