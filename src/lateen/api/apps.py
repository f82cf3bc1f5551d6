"""Views of the workloads that own pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob.

Flow: JSON document -> `codec.decode(document, Deployment)`.
Source: Kubernetes API reference v1.34, `apps/v1` and `batch/v1`.
"""

from lateen.api.core import Condition, LabelSelector, ObjectMeta
from lateen.api.pod import PodTemplateSpec
from lateen.api.view import View


class RollingUpdate(View, frozen=True, kw_only=True):
    """How many pods may be missing or too many while a workload changes."""

    max_unavailable: int | str | None = None
    max_surge: int | str | None = None
    partition: int | None = None


class UpdateStrategy(View, frozen=True, kw_only=True):
    """RollingUpdate, Recreate or OnDelete."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class WorkloadStatus(View, frozen=True, kw_only=True):
    """What a controller counted; which fields are set depends on the kind."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    updated_replicas: int = 0
    fully_labeled_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    conditions: tuple[Condition, ...] = ()


class DeploymentSpec(View, frozen=True, kw_only=True):
    """What a Deployment keeps running."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    strategy: UpdateStrategy = UpdateStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False


class Deployment(View, frozen=True, kw_only=True):
    """Replicas of a pod, replaced step by step when the template changes."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: WorkloadStatus = WorkloadStatus()


class ReplicaSetSpec(View, frozen=True, kw_only=True):
    """What a ReplicaSet keeps running."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    min_ready_seconds: int = 0


class ReplicaSet(View, frozen=True, kw_only=True):
    """Replicas of a pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: WorkloadStatus = WorkloadStatus()


class StatefulSetSpec(View, frozen=True, kw_only=True):
    """What a StatefulSet keeps running; pods are named by number."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    service_name: str = ""
    pod_management_policy: str = "OrderedReady"
    update_strategy: UpdateStrategy = UpdateStrategy()
    min_ready_seconds: int = 0


class StatefulSet(View, frozen=True, kw_only=True):
    """Replicas with a stable name each."""

    metadata: ObjectMeta = ObjectMeta()
    spec: StatefulSetSpec = StatefulSetSpec()
    status: WorkloadStatus = WorkloadStatus()


class DaemonSetSpec(View, frozen=True, kw_only=True):
    """What a DaemonSet runs on each node."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    update_strategy: UpdateStrategy = UpdateStrategy()
    min_ready_seconds: int = 0


class DaemonSetStatus(View, frozen=True, kw_only=True):
    """What the DaemonSet controller counted."""

    observed_generation: int = 0
    current_number_scheduled: int = 0
    desired_number_scheduled: int = 0
    number_misscheduled: int = 0
    number_ready: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    updated_number_scheduled: int = 0
    conditions: tuple[Condition, ...] = ()


class DaemonSet(View, frozen=True, kw_only=True):
    """One pod on each node."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class JobSpec(View, frozen=True, kw_only=True):
    """What a Job runs to the end."""

    parallelism: int = 1
    completions: int | None = None
    backoff_limit: int = 6
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    suspend: bool = False
    selector: LabelSelector | None = None
    template: PodTemplateSpec = PodTemplateSpec()


class JobStatus(View, frozen=True, kw_only=True):
    """What the Job controller counted."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    ready: int | None = None
    start_time: str | None = None
    completion_time: str | None = None
    conditions: tuple[Condition, ...] = ()


class Job(View, frozen=True, kw_only=True):
    """Pods that run until enough of them succeeded."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class JobTemplateSpec(View, frozen=True, kw_only=True):
    """What the jobs of a CronJob look like."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()


class CronJobSpec(View, frozen=True, kw_only=True):
    """When a CronJob starts a Job."""

    schedule: str = ""
    time_zone: str | None = None
    concurrency_policy: str = "Allow"
    suspend: bool = False
    job_template: JobTemplateSpec = JobTemplateSpec()


class CronJob(View, frozen=True, kw_only=True):
    """A Job at given times."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CronJobSpec = CronJobSpec()
