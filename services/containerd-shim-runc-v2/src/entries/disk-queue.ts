export { DiskQueue } from "@longshore/events/disk-queue";
