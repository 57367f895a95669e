import { start } from "../bootstrap.ts";
import { run } from "../run.ts";

run(start);
