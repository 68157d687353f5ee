#!/bin/bash
# A campaign on two nodes of eight GPUs, started again by itself: sbatch examples/launch/slurm.sh
# Submit it in the folder of campaign.toml, on a disk that all nodes see.
#SBATCH --job-name=my-campaign
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

cd "$SLURM_SUBMIT_DIR" || exit 1
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
pid_file=${TMPDIR:-/tmp}/torchrun-$SLURM_JOB_ID.pid
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=100 # seconds to save in; --signal must leave as many

# B: above sends SIGTERM to this script alone, which gives it to torchrun alone, which hands it on to its ranks.
# Sent to all, it would reach a rank twice, and a second SIGTERM stops at once, without saving.
trap 'srun --overlap --ntasks-per-node=1 bash -c "kill -TERM \$(cat $pid_file)"' TERM

srun --nodes=1 --ntasks=1 rewarm prepare campaign.toml || exit
rm -f runs/my-campaign/exit.json
srun bash -c "echo \$\$ > $pid_file; exec torchrun --nnodes $SLURM_NNODES --nproc-per-node 8 \
  --rdzv-backend c10d --rdzv-endpoint $head:29500 --rdzv-id $SLURM_JOB_ID \
  -m rewarm train campaign.toml" &
training=$!
wait $training
code=$?
while kill -0 $training 2>/dev/null; do # the trap ended the first wait
  wait $training
  code=$?
done

# torchrun makes every exit code 1; the run folder has the true one, unless the training crashed.
if [ "$code" -ne 0 ]; then
  code=$(python -c 'import json; print(json.load(open("runs/my-campaign/exit.json"))["code"])' || echo 1)
fi
if [ "$code" -eq 75 ]; then # stopped by SIGTERM, and saved
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
