import { listenGrpc } from "../listen-grpc.ts";
import { run } from "../run.ts";
import { serve } from "../serve.ts";

run((flags, signal) => serve(flags, signal, { listen: listenGrpc }));
