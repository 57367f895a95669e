import {
  TaskCheckpointed,
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from "@longshore/api/containerd/events/task";

/** containerd's task topics and what each carries: the type url of its `Any` and the generated message. */
export const TASK_TOPICS = {
  "/tasks/create": { typeUrl: "containerd.events.TaskCreate", message: TaskCreate },
  "/tasks/start": { typeUrl: "containerd.events.TaskStart", message: TaskStart },
  "/tasks/oom": { typeUrl: "containerd.events.TaskOOM", message: TaskOOM },
  "/tasks/exit": { typeUrl: "containerd.events.TaskExit", message: TaskExit },
  "/tasks/delete": { typeUrl: "containerd.events.TaskDelete", message: TaskDelete },
  "/tasks/exec-added": { typeUrl: "containerd.events.TaskExecAdded", message: TaskExecAdded },
  "/tasks/exec-started": { typeUrl: "containerd.events.TaskExecStarted", message: TaskExecStarted },
  "/tasks/paused": { typeUrl: "containerd.events.TaskPaused", message: TaskPaused },
  "/tasks/resumed": { typeUrl: "containerd.events.TaskResumed", message: TaskResumed },
  "/tasks/checkpointed": { typeUrl: "containerd.events.TaskCheckpointed", message: TaskCheckpointed },
} as const;

export type TaskTopic = keyof typeof TASK_TOPICS;
