#!/usr/bin/env bash
# Training on several nodes of a SLURM cluster.
#
#   sbatch launch/slurm.sh --config configs/deforhmr_paper.py --init-from weights/hmr2
#
# One process per node that uses all its GPUs. One process per GPU, which keeps more CPU threads busy with data:
#
#   sbatch --ntasks-per-node=8 --cpus-per-task=8 launch/slurm.sh --config ...
#
# The folder of runs must be on a file system that all nodes share. Adapt the lines below to your cluster.
#SBATCH --job-name=hmr
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out

set -uo pipefail

# shellcheck source=/dev/null
source .venv/bin/activate

# SIGTERM, 180 seconds before the end of the time or at a preemption, reaches the processes, which save and stop.
# --kill-on-bad-exit=0: if a node dies, the other processes end by themselves, after they have said why.
srun --kill-on-bad-exit=0 python train.py "$@"
status=$?

# 75: stopped by a signal; 76 and 137: a process was lost. The same command resumes.
case $status in
    75 | 76 | 137) scontrol requeue "$SLURM_JOB_ID" ;;
esac
exit $status
