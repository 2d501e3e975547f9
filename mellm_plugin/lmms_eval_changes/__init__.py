"""What this package changes in lmms-eval, once `lmms_eval.tasks` is imported.

    tasks        `TaskManager` indexes our folder too; an error of ours about data or a task file ends the loading with
                 its own message, without retries
    task_files   `include: mellm_plugin/tasks/meu.yaml` is found from any folder, and
                 `!function mellm_plugin.meu.table(clips.csv)` is not cut at its last dot
    evaluation   an error of ours ends the command with its message and exit code 1; the results name the versions of
                 the packages; failed requests are asked again, not cached; a message in parts becomes text
    table        the final table has the headline first, and the command ends with what to do next
    endings      how an error of ours ends the command

Every change is on its own: where this lmms-eval cannot take one, a warning says what that means, and the others stay.
"""

from __future__ import annotations

from types import ModuleType

from mellm_plugin.lmms_eval_changes.task_files import extend_task_files
from mellm_plugin.lmms_eval_changes.tasks import extend_loading, extend_task_manager
from mellm_plugin.plugin import in_one_line, task_folder, warn


def extend(tasks: ModuleType) -> None:
    """Extend `lmms_eval.tasks`; a second call changes nothing.

    Raises:
        Exception: of any kind, where this lmms-eval cannot list our tasks.
    """
    extend_task_manager(tasks)
    try:
        extend_loading(tasks)
    except Exception as error:
        effect = "where a dataset is not prepared, this lmms-eval will fail with another message than ours"
        warn("loading", f"{effect}: {in_one_line(error)}. `mellm datasets` lists what is prepared.")
    try:
        extend_task_files(tasks)
    except Exception as error:
        effect = "task files of your own cannot name ours as `mellm_plugin/tasks/...` here"
        warn("yaml", f"{effect}: {in_one_line(error)}. Write `include: {task_folder() / 'meu.yaml'}`.")
