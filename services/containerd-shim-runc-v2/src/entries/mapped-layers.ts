export { mountMapped } from "../mapped-layers.ts";
