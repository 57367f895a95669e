import { info } from "../info.ts";
import { run } from "../run.ts";

run(info);
