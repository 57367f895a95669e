import { standBy } from "../standby.ts";

standBy();
